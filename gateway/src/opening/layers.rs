//! Layer by layer: whom it names, which one key of theirs works, what is inside. What two people open alike is one
//! content.
//!
//! Each person's key is asked once a layer, and only where the layer names a certificate of theirs: there is no trying.
//! Whatever does not open is treated as if it had, as far as that can be seen from outside.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kenin_keys::protocol::Refusal;
use kenin_keys::{Granted, KeyId, NoKey};
use kenin_pki::address::Address;
use kenin_pki::crypto::Secret;
use kenin_policy::protect::message_ids;
use kenin_policy::verdict::EncryptionVerdict;
use kenin_smime::Limits;
use kenin_smime::open::{EncryptedLayer, Integrity, Opened, Recipient, signed_content};
use tracing::error;

use super::digests::{digest_of, digest_of_key};
use super::memory::{NoRoom, Room};
use super::named::{chosen, names};
use super::{Admission, Arrival, Closed, Job, Person, State};

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
    /// Taken with the first key that is to work.
    granted: OnceCell<Result<Box<dyn Granted + 'j>, NoKey>>,
    /// Of each person.
    pub(super) states: Vec<State>,
    /// Whether the outermost layer names a key of the person's.
    pub(super) named: Vec<bool>,
    /// Whether the outermost layer stays closed for the person whatever is in it.
    pub(super) apart: Vec<bool>,
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
            apart: vec![false; people],
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
                        let _ = self.job.office.opened(&self.used, &[]);
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
            false => Err(Vec::new()),
        };
        let layer = match layer {
            Ok(layer) => layer,
            Err(recipients) => {
                if outermost {
                    self.unreadable(&recipients)?;
                }
                self.end(task.content, task.layers, task.people);
                return Ok(Vec::new());
            }
        };
        let (named, others) = self.named_among(&task.people, layer.recipients());
        if outermost {
            self.begin(&named, &others);
        }
        let mut inside = Vec::new();
        if !named.is_empty() {
            // What is around goes, unless it is somebody's.
            let spare = outermost || others.is_empty();
            if let Some((layer, asked)) = self.admitted(layer, bytes, &named, outermost)? {
                inside = self.open(&layer, &task.layers, asked, spare);
            }
        }
        if !outermost && !others.is_empty() {
            self.end(task.content, task.layers, others);
        }
        Ok(inside)
    }

    /// Whom of these people a layer names, and whom not.
    fn named_among(&self, people: &[usize], recipients: &[Recipient]) -> (Vec<usize>, Vec<usize>) {
        let all = self.job.people;
        let is_named = |person: &usize| {
            let person = all.get(*person);
            person.is_some_and(|person| names(recipients, person))
        };
        people.iter().copied().partition(is_named)
    }

    /// The outermost layer is for these, and not for the others.
    fn begin(&mut self, named: &[usize], others: &[usize]) {
        self.set(others, State::NotRecipient);
        raise(&mut self.named, named);
    }

    /// A mail that is an encrypted layer for these, by a cipher that is not known here, or with something wrong in it. Everybody
    /// sees that; it is answered to as what does not open is, with one word for every cause.
    fn unreadable(&mut self, recipients: &[Recipient]) -> Result<(), Closed> {
        let people: Vec<usize> = (0..self.job.people.len()).collect();
        let (named, others) = self.named_among(&people, recipients);
        if named.is_empty() {
            return Ok(());
        }
        self.begin(&named, &others);
        self.set(&named, State::Undecryptable);
        self.job.office.admit(&self.arrival(true)).map(drop)
    }

    /// What the office hears of a mail of which no key is asked.
    fn arrival(&self, outermost: bool) -> Arrival {
        Arrival {
            message_ids: match outermost {
                true => message_ids(self.job.raw),
                false => Vec::new(),
            },
            digests: Vec::new(),
            answers: self.job.answers.clone(),
            octets: None,
            wait: false,
            grant: false,
        }
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

    /// The layer once it is let in, and whose keys are asked; nothing where it stays as it is.
    ///
    /// It is remembered before any key works: what was taken from another mail costs nobody a failure. So it is also where no
    /// key works then, which takes nothing from anybody: whoever brings it first is first either way, and the same mail that
    /// comes again is answered to the same.
    fn admitted(
        &mut self,
        layer: EncryptedLayer,
        bytes: &[u8],
        named: &[usize],
        outermost: bool,
    ) -> Result<Option<(EncryptedLayer, Vec<Asked>)>, Closed> {
        let mut arrival = self.arrival(outermost);
        if layer.cipher().is_legacy() {
            // Everybody sees that, so that nobody learns anything.
            self.set(named, State::Undecryptable);
            if outermost {
                self.job.office.admit(&arrival)?;
            }
            return Ok(None);
        }
        let asked = self.asked(&layer, named, outermost);
        arrival.digests = digests_of(&layer, &asked);
        arrival.grant = !asked.is_empty();
        let size = layer.encrypted_len();
        arrival.octets = outermost.then_some(size);
        let (admission, layer) = match self.job.office.admit(&arrival)? {
            Admission::NoRoom(NoRoom::Now) => {
                // While it waits, its own octets are not held.
                drop(layer);
                arrival.wait = true;
                let admission = self.job.office.admit(&arrival)?;
                (admission, root_layer(bytes, self.limits).ok())
            }
            other => (other, Some(layer)),
        };
        let (room, firsts) = match admission {
            Admission::Granted { room, firsts } => (room, firsts),
            Admission::NoRoom(NoRoom::Now) => return Err(Closed::Memory),
            Admission::NoRoom(NoRoom::Ever) => {
                error!(
                    size,
                    "an encrypted mail stays so: it does not fit into [decrypt] memory"
                );
                self.set(named, State::Undecryptable);
                arrival.digests.clear();
                arrival.octets = None;
                arrival.grant = false;
                self.job.office.admit(&arrival)?;
                return Ok(None);
            }
        };
        if let Some(room) = room {
            self.room = Some(Arc::new(room));
        }
        let asked = self.not_anothers(asked, named, &arrival.digests, &firsts)?;
        let Some(layer) = layer else {
            self.set(named, State::Undecryptable);
            return Ok(None);
        };
        Ok(Some((layer, asked)))
    }

    /// Those of whom nothing came before in another mail; the others' keys are not asked.
    fn not_anothers(
        &mut self,
        asked: Vec<Asked>,
        named: &[usize],
        digests: &[[u8; 32]],
        firsts: &[Vec<u8>],
    ) -> Result<Vec<Asked>, Closed> {
        if firsts.len() != digests.len() {
            return Err(Closed::Record);
        }
        let own = self.job.answers.digest;
        let all = digests.iter().zip(firsts);
        let anothers = all.filter(|(_, first)| **first != own);
        let anothers: HashSet<&[u8; 32]> = anothers.map(|(digest, _)| digest).collect();
        if digests
            .first()
            .is_some_and(|content| anothers.contains(content))
        {
            self.set(named, State::Replayed);
            return Ok(Vec::new());
        }
        let (replayed, asked): (Vec<Asked>, Vec<Asked>) = asked
            .into_iter()
            .partition(|one| anothers.contains(&one.wrapped));
        for one in replayed {
            self.set(&[one.person], State::Replayed);
        }
        Ok(asked)
    }

    /// Opens a layer with the keys of these people. `spare` says whether there is memory already for one content of it.
    fn open(
        &mut self,
        layer: &EncryptedLayer,
        around: &[EncryptionVerdict],
        asked: Vec<Asked>,
        mut spare: bool,
    ) -> Vec<Task> {
        let (contents, guess) = self.content_keys(layer, asked, around.is_empty());
        if guess && let Ok(key) = Secret::random(layer.key_len()) {
            // As much work as with a key.
            drop(
                layer
                    .open_with(&key)
                    .map(|opened| Secret::new(opened.entity)),
            );
        }
        let mut inside = Vec::new();
        for ContentKey { key, users, proven } in contents {
            let people: Vec<usize> = users.iter().map(|user| user.person).collect();
            let opened = layer.open_with(&key).ok();
            // Where it may be a key that was made in place of another, what looks like no mail is as if it were.
            let opened = opened.filter(|opened| {
                proven || opened.integrity == Integrity::Aead || opened.is_entity()
            });
            let Some(opened) = opened else {
                self.set(&people, State::Undecryptable);
                continue;
            };
            self.set(&people, State::Opened);
            self.used.extend(users.into_iter().filter_map(User::of_key));
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
        inside
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

    /// Whose keys would be asked. Who has none that may be asked is done with.
    fn asked(&mut self, layer: &EncryptedLayer, named: &[usize], outermost: bool) -> Vec<Asked> {
        let mut asked = Vec::new();
        for person in named {
            let own = self.job.people.get(*person);
            let Some((key, recipient)) = own.and_then(|own| chosen(layer, own)) else {
                self.set(&[*person], State::Undecryptable);
                if outermost {
                    raise(&mut self.apart, &[*person]);
                }
                continue;
            };
            asked.push(Asked {
                person: *person,
                key,
                recipient,
                wrapped: digest_of_key(layer, recipient),
            });
        }
        asked
    }

    /// The content-encryption keys that the people's keys unwrap, each with those who have it. The flag says whether a key
    /// could not do what it was asked for, as a guess of somebody's would have it.
    fn content_keys(
        &mut self,
        layer: &EncryptedLayer,
        asked: Vec<Asked>,
        outermost: bool,
    ) -> (Vec<ContentKey>, bool) {
        let mut contents: Vec<ContentKey> = Vec::new();
        let mut guess = false;
        // People may have a key in common.
        let mut known: HashMap<KeyId, (Result<usize, State>, bool)> = HashMap::new();
        for Asked {
            person: place,
            key,
            recipient,
            ..
        } in asked
        {
            let Some(person) = self.job.people.get(place) else {
                continue;
            };
            let mut user = User {
                person: place,
                used: None,
            };
            let (outcome, apart) = match known.get(&key) {
                Some(known) => *known,
                None => {
                    let unwrapped = self.unwrap(layer, person, key, recipient);
                    let apart = outermost && is_not_at_hand(&unwrapped);
                    let outcome = match unwrapped {
                        Ok(secret) => {
                            user.used = Some((person.address.clone(), key));
                            let proven = proves_its_key(layer, recipient);
                            let same = contents.iter_mut().position(|other| {
                                let same = other.key == secret;
                                other.proven |= same && proven;
                                same
                            });
                            Ok(same.unwrap_or_else(|| {
                                contents.push(ContentKey {
                                    key: secret,
                                    users: Vec::new(),
                                    proven,
                                });
                                contents.len() - 1
                            }))
                        }
                        Err(NoKey::Refused(Refusal::TooManyFailures)) => Err(State::Throttled),
                        Err(NoKey::Refused(Refusal::Failed)) => {
                            guess = true;
                            Err(State::Undecryptable)
                        }
                        // Whoever tries again may find it there. Of a layer inside nobody is told that.
                        Err(NoKey::Gone | NoKey::Refused(Refusal::Unavailable | Refusal::Busy)) => {
                            self.gone |= outermost;
                            Err(State::Undecryptable)
                        }
                        Err(NoKey::Refused(refusal)) => {
                            error!(%key, %refusal, "the key process does not let a recipient's key work");
                            Err(State::Undecryptable)
                        }
                    };
                    known.insert(key, (outcome, apart));
                    (outcome, apart)
                }
            };
            if apart {
                raise(&mut self.apart, &[place]);
            }
            match outcome {
                Ok(at) => {
                    if let Some(content) = contents.get_mut(at) {
                        content.users.push(user);
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
    /// The digest of what is wrapped for them.
    wrapped: [u8; 32],
}

/// A content-encryption key.
struct ContentKey {
    key: Secret,
    /// Who has it.
    users: Vec<User>,
    /// Whether it is what somebody wrapped, for one of them at least.
    proven: bool,
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

/// Whether a key did nothing, for a reason that has to do neither with the layer nor with others of its sender's.
fn is_not_at_hand(unwrapped: &Result<Secret, NoKey>) -> bool {
    match unwrapped {
        Ok(_) | Err(NoKey::Refused(Refusal::TooManyFailures | Refusal::Failed)) => false,
        Err(NoKey::Gone | NoKey::Refused(_)) => true,
    }
}

fn raise(flags: &mut [bool], places: &[usize]) {
    for place in places {
        if let Some(flag) = flags.get_mut(*place) {
            *flag = true;
        }
    }
}

/// Whether what is unwrapped for a recipient is what somebody wrapped.
fn proves_its_key(layer: &EncryptedLayer, recipient: usize) -> bool {
    let recipient = layer.recipients().get(recipient);
    let wrapped = recipient.and_then(|recipient| recipient.wrapped.as_ref());
    wrapped.is_some_and(|wrapped| wrapped.wrapping.proves_its_key())
}

/// By what it is known when it comes again: its content, and what is wrapped for whom. Without integrity anybody can change a
/// content, and with it its digest; what is wrapped for somebody stays the same, or does not unwrap.
///
/// What is wrapped for others is remembered beside it. The mail need not have come for all whom its layer names: its sender's
/// own copy, above all, would be new when somebody else sends it to them.
fn digests_of(layer: &EncryptedLayer, asked: &[Asked]) -> Vec<[u8; 32]> {
    let mut digests = vec![digest_of(layer)];
    // People may have a key in common.
    let mut known = HashSet::new();
    let all = layer.recipients().iter().enumerate();
    let wrapped = all.filter(|(_, recipient)| recipient.wrapped.is_some());
    let others = wrapped.map(|(at, _)| digest_of_key(layer, at));
    digests.extend(
        asked
            .iter()
            .map(|one| one.wrapped)
            .chain(others.take(MAX_OTHERS))
            .filter(|wrapped| known.insert(*wrapped)),
    );
    digests
}

/// Recipients of a layer that are remembered although the mail did not come for them. Each costs the store a row.
pub(crate) const MAX_OTHERS: usize = 32;

/// The encrypted layer that all of a message is, behind signatures around the whole. Where it cannot be opened here: its
/// recipients, as far as it says them.
fn root_layer(raw: &[u8], limits: &Limits) -> Result<EncryptedLayer, Vec<Recipient>> {
    let mut content: Option<Secret> = None;
    for _ in 0..=limits.layers {
        let bytes = content.as_ref().map_or(raw, Secret::expose);
        match EncryptedLayer::of_or_recipients(bytes, limits) {
            Err(recipients) if recipients.is_empty() => {}
            found => return found,
        }
        let inner = signed_content(bytes, limits).ok_or_else(Vec::new)?;
        content = Some(Secret::new(inner));
    }
    Err(Vec::new())
}
