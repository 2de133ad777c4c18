//! Layer by layer: whom it names, which one key of theirs works, what is inside. What two people open alike is one
//! content.
//!
//! Each person's key is asked once a layer, and only where the layer names a certificate of theirs: there is no trying.
//! Whatever does not open is treated as if it had, as far as that can be seen from outside.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use kenin_keys::protocol::Refusal;
use kenin_keys::{Granted, KeyFacts, KeyId, NoKey, State as KeyState};
use kenin_pki::address::Address;
use kenin_pki::certificate::Certificate;
use kenin_pki::crypto::{PublicKey, Secret};
use kenin_policy::protect::message_ids;
use kenin_policy::verdict::EncryptionVerdict;
use kenin_smime::Limits;
use kenin_smime::open::{EncryptedLayer, Opened, signed_content};
use tracing::error;

use super::digests::{digest_of, digest_of_key};
use super::memory::{NoRoom, Room};
use super::{Closed, Job, Person, State};

/// A content that was opened, and for whom.
pub(super) struct Found {
    pub(super) entity: Secret,
    /// The layers that were opened, outermost first.
    pub(super) layers: Vec<EncryptionVerdict>,
    /// By their place among the people of the job.
    pub(super) people: Vec<usize>,
}

/// What is known of all layers so far.
pub(super) struct Walk<'j> {
    job: &'j Job<'j>,
    limits: &'j Limits,
    /// Asked for with the first key that is to work.
    granted: OnceCell<Result<Box<dyn Granted + 'j>, NoKey>>,
    /// Of each person.
    pub(super) states: Vec<State>,
    /// Whether the outermost layer names a key of the person's.
    pub(super) named: Vec<bool>,
    /// Uses of keys that were no guesses.
    pub(super) used: Vec<(Address, KeyId)>,
    pub(super) found: Vec<Found>,
    pub(super) room: Option<Arc<Room>>,
    /// A key that was needed did not answer.
    pub(super) gone: bool,
}

/// Something that may be encrypted once more.
struct Task {
    /// Nothing stands for the mail as it came.
    content: Option<Secret>,
    layers: Vec<EncryptionVerdict>,
    people: Vec<usize>,
}

impl<'j> Walk<'j> {
    pub(super) fn new(job: &'j Job<'j>) -> Self {
        let people = job.people.len();
        Self {
            job,
            limits: job.limits,
            granted: OnceCell::new(),
            states: vec![State::NotRoot; people],
            named: vec![false; people],
            used: Vec::new(),
            found: Vec::new(),
            room: None,
            gone: false,
        }
    }

    /// All layers, for all people of the job.
    pub(super) fn run(mut self) -> Result<Self, Closed> {
        let mut tasks = vec![Task {
            content: None,
            layers: Vec::new(),
            people: (0..self.job.people.len()).collect(),
        }];
        while let Some(task) = tasks.pop() {
            match self.layer(task) {
                Ok(inside) => tasks.extend(inside),
                Err(closed) => {
                    // What has opened by then is no failure of its sender's, who comes again.
                    if !self.used.is_empty() {
                        self.job.office.opened(&self.used);
                    }
                    return Err(closed);
                }
            }
        }
        Ok(self)
    }

    /// One layer; gives what was in it.
    fn layer(&mut self, task: Task) -> Result<Vec<Task>, Closed> {
        let outermost = task.content.is_none();
        let bytes = task.content.as_ref().map_or(self.job.raw, Secret::expose);
        // Somebody may go on encrypting what is encrypted; we do not go on for ever.
        let layer = match task.layers.len() < self.limits.layers {
            true => root_layer(bytes, self.limits),
            false => None,
        };
        let Some(layer) = layer else {
            self.end(task.content, task.layers, task.people);
            return Ok(Vec::new());
        };
        let all = self.job.people;
        let is_named =
            |person: &usize| all.get(*person).is_some_and(|person| names(&layer, person));
        let (named, others): (Vec<usize>, Vec<usize>) =
            task.people.iter().copied().partition(is_named);
        if outermost {
            self.set(&others, State::NotRecipient);
            for person in &named {
                if let Some(flag) = self.named.get_mut(*person) {
                    *flag = true;
                }
            }
        }
        let mut inside = Vec::new();
        if !named.is_empty() {
            let layer = match outermost {
                true => {
                    self.job.office.came_encrypted(&message_ids(self.job.raw))?;
                    self.with_room(layer, bytes)?
                }
                false => Some(layer),
            };
            // What is around goes, unless it is somebody's.
            let spare = outermost || others.is_empty();
            match layer {
                Some(layer) => inside = self.open(&layer, &task.layers, named, spare)?,
                None => self.set(&named, State::Undecryptable),
            }
        }
        if !outermost && !others.is_empty() {
            self.end(task.content, task.layers, others);
        }
        Ok(inside)
    }

    /// Nothing is inside any more, as far as these people can see.
    fn end(&mut self, content: Option<Secret>, layers: Vec<EncryptionVerdict>, people: Vec<usize>) {
        if let Some(entity) = content {
            self.found.push(Found {
                entity,
                layers,
                people,
            });
        }
    }

    /// The layer, when there is memory for what is in it; nothing where there never is. While it waits, its own octets
    /// are not held.
    fn with_room(
        &mut self,
        layer: EncryptedLayer,
        bytes: &[u8],
    ) -> Result<Option<EncryptedLayer>, Closed> {
        let size = layer.encrypted_len();
        let (room, layer) = match self.job.office.room(size, false) {
            Err(NoRoom::Now) => {
                drop(layer);
                let room = self.job.office.room(size, true);
                (room, root_layer(bytes, self.limits))
            }
            other => (other, Some(layer)),
        };
        match room {
            Ok(room) => {
                self.room = Some(Arc::new(room));
                Ok(layer)
            }
            Err(NoRoom::Ever) => {
                error!(
                    size,
                    "an encrypted mail stays so: it does not fit into [decrypt] memory"
                );
                Ok(None)
            }
            Err(NoRoom::Now) => Err(Closed::Memory),
        }
    }

    /// Opens a layer for the people that it names. `spare` says whether there is memory already for one content of it.
    fn open(
        &mut self,
        layer: &EncryptedLayer,
        around: &[EncryptionVerdict],
        named: Vec<usize>,
        mut spare: bool,
    ) -> Result<Vec<Task>, Closed> {
        if layer.cipher().is_legacy() {
            // Everybody sees that, so that nobody learns anything.
            self.set(&named, State::Undecryptable);
            return Ok(Vec::new());
        }
        let sha256 = digest_of(layer);
        // Before any key works: what was taken from another mail costs nobody a failure.
        if self.is_anothers(&sha256)? {
            self.set(&named, State::Replayed);
            return Ok(Vec::new());
        }
        let (asked, wrapped) = self.asked(layer, named)?;
        let (contents, guess) = self.content_keys(layer, asked);
        let people: Vec<usize> = contents
            .iter()
            .flat_map(|(_, users)| users)
            .map(|user| user.person)
            .collect();
        if people.is_empty() && !guess {
            return Ok(Vec::new());
        }
        // Also of what will not open: both take the same way. Somebody else may have been faster since.
        let closed = match self.is_first(&sha256, &wrapped) {
            Ok(true) => None,
            Ok(false) => {
                self.set(&people, State::Replayed);
                return Ok(Vec::new());
            }
            // Nothing comes of it now, whatever is inside; what opens is told apart from a guess all the same.
            Err(closed) => Some(closed),
        };
        if guess && let Ok(key) = Secret::random(layer.key_len()) {
            // As much work as with a key.
            drop(
                layer
                    .open_with(&key)
                    .map(|opened| Secret::new(opened.entity)),
            );
        }
        let mut inside = Vec::new();
        for (key, users) in contents {
            let people: Vec<usize> = users.iter().map(|user| user.person).collect();
            let opened = layer.open_with(&key).ok();
            let opened = opened.filter(Opened::is_entity);
            let Some(opened) = opened else {
                self.set(&people, State::Undecryptable);
                continue;
            };
            self.set(&people, State::Opened);
            self.used.extend(users.into_iter().filter_map(User::of_key));
            if closed.is_some() {
                // Wiped.
                drop(Secret::new(opened.entity));
                continue;
            }
            // What opens to several contents takes more than what came.
            if !std::mem::take(&mut spare) && !self.has_more_room(opened.entity.len()) {
                self.set(&people, State::Undecryptable);
                // Wiped.
                drop(Secret::new(opened.entity));
                continue;
            }
            let section = around
                .last()
                .map_or_else(|| "1".to_owned(), |last| format!("{}/1", last.section));
            let mut layers = around.to_vec();
            layers.push(EncryptionVerdict::of_opened(
                section,
                layer.cipher(),
                layer.recipients().len(),
            ));
            inside.push(Task {
                content: Some(self.expanded(opened)),
                layers,
                people,
            });
        }
        closed.map_or(Ok(inside), Err)
    }

    /// What is in the compressed layers that all of a content is, as far as there is memory for it: it may be a hundred
    /// times as large. Who has some memory does not wait for more.
    fn expanded(&mut self, mut opened: Opened) -> Secret {
        while let Some(Ok(inner)) = opened.expanded(self.limits) {
            let more = inner.entity.len().saturating_sub(opened.entity.len());
            if !self.has_more_room(more) {
                // Wiped.
                drop(Secret::new(inner.entity));
                break;
            }
            let outer = std::mem::replace(&mut opened, inner);
            drop(Secret::new(outer.entity));
        }
        Secret::new(opened.entity)
    }

    /// Whether there is memory for so many octets beyond those of the layer. It is held as long as theirs.
    fn has_more_room(&mut self, octets: usize) -> bool {
        if octets == 0 {
            return true;
        }
        let own = self.room.as_mut().and_then(Arc::get_mut);
        match (own, self.job.office.room(octets, false)) {
            (Some(own), Ok(more)) => {
                own.join(more);
                true
            }
            _ => {
                error!(
                    octets,
                    "a part of what is in an encrypted mail stays as it is: it does not fit into [decrypt] memory"
                );
                false
            }
        }
    }

    /// Whether this came before in another mail.
    fn is_anothers(&self, sha256: &[u8; 32]) -> Result<bool, Closed> {
        let first = self.job.office.first(sha256)?;
        Ok(first.is_some_and(|first| first != self.job.answers.digest))
    }

    /// Remembers the content and what is wrapped for whom; whether all of it is of this mail first.
    fn is_first(&self, sha256: &[u8; 32], wrapped: &[[u8; 32]]) -> Result<bool, Closed> {
        let own = self.job.answers.digest;
        for sha256 in std::iter::once(sha256).chain(wrapped) {
            if self.job.office.remember(sha256, self.job.answers)? != own {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whose keys are asked, and the digests of what is wrapped for them. Without integrity anybody can change a content,
    /// and with it its digest; what is wrapped for somebody stays the same, or does not unwrap. Where that came before in
    /// another mail, no key is asked.
    fn asked(
        &mut self,
        layer: &EncryptedLayer,
        named: Vec<usize>,
    ) -> Result<(Vec<Asked>, Vec<[u8; 32]>), Closed> {
        let (mut asked, mut wrapped) = (Vec::new(), Vec::new());
        for person in named {
            let own = self.job.people.get(person);
            let Some((key, recipient)) = own.and_then(|own| chosen(layer, own)) else {
                self.set(&[person], State::Undecryptable);
                continue;
            };
            let sha256 = digest_of_key(layer, recipient);
            // People may have a key in common.
            if !wrapped.contains(&sha256) {
                if self.is_anothers(&sha256)? {
                    self.set(&[person], State::Replayed);
                    continue;
                }
                wrapped.push(sha256);
            }
            asked.push(Asked {
                person,
                key,
                recipient,
            });
        }
        Ok((asked, wrapped))
    }

    /// The content-encryption keys that the people's keys unwrap, each with those who have it. The flag says whether a key
    /// could not do what it was asked for, as a guess of somebody's would have it.
    fn content_keys(
        &mut self,
        layer: &EncryptedLayer,
        asked: Vec<Asked>,
    ) -> (Vec<(Secret, Vec<User>)>, bool) {
        let mut contents: Vec<(Secret, Vec<User>)> = Vec::new();
        let mut guess = false;
        // People may have a key in common.
        let mut known: HashMap<KeyId, Result<usize, State>> = HashMap::new();
        for Asked {
            person: place,
            key,
            recipient,
        } in asked
        {
            let Some(person) = self.job.people.get(place) else {
                continue;
            };
            let mut user = User {
                person: place,
                used: None,
            };
            let outcome = match known.get(&key) {
                Some(outcome) => *outcome,
                None => {
                    let outcome = match self.unwrap(layer, person, key, recipient) {
                        Ok(secret) => {
                            user.used = Some((person.address.clone(), key));
                            let same = contents.iter().position(|(other, _)| *other == secret);
                            Ok(same.unwrap_or_else(|| {
                                contents.push((secret, Vec::new()));
                                contents.len() - 1
                            }))
                        }
                        Err(NoKey::Refused(Refusal::TooManyFailures)) => Err(State::Throttled),
                        Err(NoKey::Refused(Refusal::Failed)) => {
                            guess = true;
                            Err(State::Undecryptable)
                        }
                        // Whoever tries again may find it there.
                        Err(NoKey::Gone | NoKey::Refused(Refusal::Unavailable | Refusal::Busy)) => {
                            self.gone = true;
                            Err(State::Undecryptable)
                        }
                        Err(NoKey::Refused(refusal)) => {
                            error!(%key, %refusal, "the key process does not let a recipient's key work");
                            Err(State::Undecryptable)
                        }
                    };
                    known.insert(key, outcome);
                    outcome
                }
            };
            match outcome {
                Ok(at) => {
                    if let Some((_, users)) = contents.get_mut(at) {
                        users.push(user);
                    }
                }
                Err(state) => self.set(&[place], state),
            }
        }
        (contents, guess)
    }

    fn unwrap(
        &self,
        layer: &EncryptedLayer,
        person: &Person,
        key: KeyId,
        recipient: usize,
    ) -> Result<Secret, NoKey> {
        let recipient = layer.recipients().get(recipient);
        let wrapped = recipient.and_then(|recipient| recipient.wrapped.as_ref());
        let wrapped = wrapped.ok_or(NoKey::Refused(Refusal::Failed))?;
        let granted = self.granted.get_or_init(|| self.job.office.granted());
        let granted = granted.as_ref().map_err(|no| *no)?;
        granted.unwrap(&person.address, key, layer.key_len(), wrapped)
    }

    fn set(&mut self, people: &[usize], state: State) {
        for person in people {
            if let Some(own) = self.states.get_mut(*person) {
                *own = state;
            }
        }
    }
}

/// Somebody of whom a key is asked.
struct Asked {
    person: usize,
    key: KeyId,
    /// Which recipient of the layer it is.
    recipient: usize,
}

/// Somebody who has a content-encryption key.
struct User {
    person: usize,
    /// Which use of which key it cost, unless another's did.
    used: Option<(Address, KeyId)>,
}

impl User {
    fn of_key(self) -> Option<(Address, KeyId)> {
        self.used
    }
}

/// The encrypted layer that all of a message is, behind signatures around the whole.
fn root_layer(raw: &[u8], limits: &Limits) -> Option<EncryptedLayer> {
    if let Some(layer) = EncryptedLayer::of(raw, limits) {
        return Some(layer);
    }
    let mut content = Secret::new(signed_content(raw, limits)?);
    for _ in 1..limits.layers {
        if let Some(layer) = EncryptedLayer::of(content.expose(), limits) {
            return Some(layer);
        }
        content = Secret::new(signed_content(content.expose(), limits)?);
    }
    EncryptedLayer::of(content.expose(), limits)
}

/// Whether a layer names a certificate of the person's, in whatever way, and however often.
fn names(layer: &EncryptedLayer, person: &Person) -> bool {
    let own: Vec<Certificate> = person
        .keys
        .iter()
        .flat_map(|key| own_certificates(key))
        .collect();
    let mut recipients = layer.recipients().iter();
    recipients.any(|recipient| own.iter().any(|own| recipient.id.matches(own)))
}

/// The one key of the person's that is asked, and which recipient of the layer it is: one in use before one that was
/// replaced. Nothing where all that is for theirs is wrapped as old programs did.
fn chosen(layer: &EncryptedLayer, person: &Person) -> Option<(KeyId, usize)> {
    let mut owned: Vec<(&Arc<KeyFacts>, Certificate)> = Vec::new();
    for key in &person.keys {
        owned.extend(own_certificates(key).into_iter().map(|own| (key, own)));
    }
    let certificates: Vec<Certificate> = owned.iter().map(|(_, own)| own.clone()).collect();
    let matches = layer.match_certificates(&certificates);
    let matched = matches.iter().filter_map(|found| {
        let (key, _) = owned.get(found.certificate)?;
        let wrapped = layer.recipients().get(found.recipient)?.wrapped.as_ref()?;
        if wrapped.wrapping.is_legacy() {
            return None;
        }
        Some((key.state != KeyState::Active, key.id, found.recipient))
    });
    let (_, key, recipient) = matched.min()?;
    Some((key, recipient))
}

/// The certificates of a key, without those of the authorities above.
fn own_certificates(key: &KeyFacts) -> Vec<Certificate> {
    let certificates = key.certificates.iter();
    let own = certificates.filter(|one| is_same(one.public_key(), &key.public));
    own.cloned().collect()
}

/// A certificate may say of its key that it is for one padding only, and the key file not.
fn is_same(one: &PublicKey, other: &PublicKey) -> bool {
    one.kind() == other.kind() && one.bits() == other.bits()
}
