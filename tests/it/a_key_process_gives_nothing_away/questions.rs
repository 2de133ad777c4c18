//! All that can be asked: each kind of question that a frame can name.

use super::*;

#[test]
fn there_is_no_other_question_by_which_a_key_could_leave() {
    // Each of them ends the process; all the others are put to its server in the keys' own tests.
    for kind in [0, 5, 16, 33, 35, 255] {
        let mut process = KeyProcess::start();
        let mut frame = EdgeRequest::Next(None).to_frame(1).unwrap();
        frame[KIND] = kind;
        process.line.write_all(&frame).unwrap();
        assert_eq!(process.ended().code(), Some(69), "{kind}");
        let mut rest = Vec::new();
        // The end may be told as a reset: not all was read.
        let _ = process.line.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{kind}");
    }
}

/// What ends a worker's connection without a word differs from what is answered in the kind of the question alone.
#[test]
fn a_worker_has_two_kinds_of_questions_and_no_other() {
    let mut process = KeyProcess::start();
    let alice = process.alice.clone();
    let mail = process.mail(Some(ALICE), 600);
    let questions = [
        WorkerRequest::Unwrap(unwrap(mail, ALICE, &alice)),
        WorkerRequest::Sign(sign(mail, &alice, attributes())),
    ];
    let frames = questions.map(|question| question.to_frame(1).unwrap());
    for frame in &frames {
        let said = answer(&process.connection(Reach::One(mail)), frame);
        let (_, answer) = Answer::from_frame(&said).unwrap();
        assert!(matches!(answer, Answer::Key(_) | Answer::Signature(_)));
    }
    let known: Vec<u8> = frames.iter().map(|frame| frame[KIND]).collect();
    for kind in (0..=u8::MAX).filter(|kind| !known.contains(kind)) {
        for frame in &frames {
            let mut frame = frame.clone();
            frame[KIND] = kind;
            let mut connection = process.connection(Reach::One(mail));
            connection.write_all(&frame).unwrap();
            assert!(ends_without_a_word(connection), "{kind}");
        }
    }
    let mut worker = process.worker(mail);
    assert!(worker.unwrap(unwrap(mail, ALICE, &alice)).is_ok());
    assert_eq!(process.said("a key was used"), 3);
}

/// Behind the length, the version and the number.
const KIND: usize = 9;
