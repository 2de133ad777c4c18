//! DEC-08, KEY-03: whose mail, over whose connection, for whom, with which key, and what was encrypted for whose: as the
//! dice say.

use kenin_keys::WorkerClient;
use kenin_keys::protocol::Unwrap;
use kenin_pki::crypto::{Secret, Wrapped};
use kenin_tests::world::Dice;

use super::*;
use crate::key_process::wrapped;

/// A mail that was announced.
struct Mail {
    transaction: Transaction,
    /// Whoever has it in hand.
    worker: WorkerClient,
    /// To whom it goes, of [`PEOPLE`].
    recipients: Vec<usize>,
    /// How often each key was let work for it.
    uses: [usize; 2],
}

/// A content-encryption key as somebody wrapped it.
struct Ciphertext {
    /// For whom, of [`PEOPLE`].
    whose: usize,
    wrapped: Wrapped,
    content_key: Vec<u8>,
}

/// Whatever is asked for, a key works for its owner in a mail to them, over a connection that is this mail's or the edge's
/// own, and never else, and opens what is for it and nothing else; and its process has written down each time that it has
/// worked, and no other.
#[test]
fn of_ten_thousand_random_pairs_none_is_opened_for_another() {
    let mut process = KeyProcess::start();
    let keys = [process.alice.clone(), process.bob.clone()];
    // The third is there for nobody.
    let ids = [keys[0].id, keys[1].id, KeyId::random().unwrap()];
    let ciphertexts: Vec<Ciphertext> = (0..32_u8)
        .map(|number| {
            let whose = usize::from(number % 2);
            let content_key = vec![number; 16];
            let wrapped = wrapped(&keys[whose], &Secret::new(content_key.clone()));
            Ciphertext {
                whose,
                wrapped,
                content_key,
            }
        })
        .collect();
    let mut edges_own = WorkerClient::new(process.connection(Reach::All));
    let mut dice = Dice::new(8);
    let mut roll = |sides: usize| dice.below(sides as u64) as usize;
    let mut mails: Vec<Mail> = Vec::new();
    let (mut worked, mut foreign, mut strayed) = ([0; 2], 0, 0);
    for number in 0..10_000_u32 {
        if number % 4 == 0 {
            let to = (0..PEOPLE.len()).filter(|_| roll(2) == 0);
            let recipients: Vec<usize> = to.collect();
            let [.., a, b] = (number / 4).to_be_bytes();
            let transaction = Transaction::random().unwrap();
            let grant = Grant {
                transaction,
                tenant: "default".to_owned(),
                recipients: recipients.iter().map(|one| address(PEOPLE[*one])).collect(),
                sender: None,
                // Networks of their own, so that no limit of one is reached.
                client: Some([10, a, b, 1].into()),
                seconds: 900,
            };
            process.edge.grant(grant).unwrap();
            if mails.len() == 4 {
                // Its connection ends, and its grant holds.
                mails.remove(0);
            }
            mails.push(Mail {
                transaction,
                worker: process.worker(transaction),
                recipients,
                uses: [0; 2],
            });
        }
        // One of the last mails, mostly over its own connection.
        let mail = roll(mails.len());
        let over = match roll(4) {
            0 => None,
            1 => Some(roll(mails.len())),
            _ => Some(mail),
        };
        let (recipient, key) = (roll(PEOPLE.len()), roll(ids.len()));
        let ciphertext = &ciphertexts[roll(ciphertexts.len())];
        let request = Unwrap {
            transaction: mails[mail].transaction,
            recipient: address(PEOPLE[recipient]),
            key: ids[key],
            length: 16,
            wrapped: ciphertext.wrapped.clone(),
        };
        let worker = match over {
            Some(over) => &mut mails[over].worker,
            None => &mut edges_own,
        };
        let answer = worker.unwrap(request);
        let reaches = over.is_none_or(|over| over == mail);
        let mail = &mut mails[mail];
        let theirs = key < 2 && key == recipient && mail.recipients.contains(&recipient);
        strayed += usize::from(theirs && !reaches);
        if !theirs || !reaches || mail.uses[key] == MAX_USES_OF_KEY {
            assert!(is_not_granted(answer), "{number}");
            foreign += 1;
            continue;
        }
        match answer {
            Ok(opened) => {
                assert_eq!(ciphertext.whose, key, "{number}");
                assert_eq!(opened.expose(), ciphertext.content_key, "{number}");
            }
            Err(ClientError::Refused(Refusal::Failed)) => {
                assert_ne!(ciphertext.whose, key, "{number}");
            }
            Err(other) => panic!("{number}: {other}"),
        }
        mail.uses[key] += 1;
        worked[key] += 1;
        // Else it would be a failure, of which a key may have two hundred before its answers wait.
        let opened = process
            .edge
            .opened(mail.transaction, address(PEOPLE[key]), ids[key]);
        opened.unwrap();
    }
    assert!(foreign > 5000 && strayed > 100 && worked.iter().all(|times| *times > 200));
    let log = process.log();
    let uses = log.lines().filter(|line| line.contains("a key was used"));
    let uses: Vec<&str> = uses.collect();
    for (id, times) in ids.iter().zip([worked[0], worked[1], 0]) {
        let id = id.to_string();
        let of_key = uses.iter().filter(|line| line.contains(&id));
        assert_eq!(of_key.count(), times, "{id}");
    }
    assert_eq!(uses.len(), worked[0] + worked[1]);
}

/// Who is asked for. The keys are those of the first two.
const PEOPLE: [&str; 3] = [ALICE, BOB, CAROL];
