use super::*;

/// A machine with two clocks, in milliseconds.
struct Machine {
    judge: Judge,
    wall: i64,
    up: i64,
}

impl Machine {
    /// Just booted, with this wall clock.
    fn at(now: UnixTime) -> Self {
        Self {
            judge: Judge::default(),
            wall: now.0 * 1000,
            up: 20_000,
        }
    }

    /// One that has run for an hour.
    fn settled() -> Self {
        let mut machine = Self::at(NOW);
        assert_eq!(machine.run(HOUR), Trust::Yes);
        assert_eq!(machine.judge.mark(), Some(machine.now()));
        machine
    }

    fn look(&mut self) -> Trust {
        let wall = Duration::from_millis(u64::try_from(self.wall).unwrap());
        let up = Duration::from_millis(u64::try_from(self.up).unwrap());
        self.judge.observe(UNIX_EPOCH + wall, up)
    }

    /// Both clocks go on for so many seconds, and are looked at every five.
    fn run(&mut self, seconds: i64) -> Trust {
        let mut trust = self.look();
        for _ in 0..seconds / 5 {
            self.pass(5);
            trust = self.look();
        }
        trust
    }

    /// So many seconds pass, and nobody looks.
    fn pass(&mut self, seconds: i64) {
        self.wall += seconds * 1000;
        self.up += seconds * 1000;
    }

    /// Somebody sets the wall clock by so many seconds.
    fn set(&mut self, seconds: i64) -> Trust {
        self.wall += seconds * 1000;
        self.look()
    }

    fn now(&self) -> UnixTime {
        UnixTime(self.wall / 1000)
    }
}

#[test]
fn a_time_counts_from_the_first_such_program_on_and_for_twenty_years() {
    for (time, trust) in [
        (UnixTime(0), Trust::TooEarly),
        (EARLIEST.plus(-1), Trust::TooEarly),
        (EARLIEST, Trust::Yes),
        // Where 31 bits end.
        (UnixTime(i64::from(i32::MAX)), Trust::Yes),
        (UnixTime(i64::from(i32::MAX) + 1), Trust::Yes),
        (LATEST, Trust::Yes),
        (LATEST.plus(1), Trust::TooLate),
        // Where UTCTime ends.
        (UnixTime(2_524_608_000), Trust::TooLate),
    ] {
        assert_eq!(Machine::at(time).look(), trust, "{time}");
        assert_eq!(plausible(time, None), trust, "{time}");
    }
    assert_eq!(EARLIEST.to_string(), "2026-11-01T00:00:00Z");
    assert_eq!(LATEST.to_string(), "2046-11-01T00:00:00Z");
    // Before 1970 it is 1970.
    let before = UNIX_EPOCH - Duration::from_secs(1);
    let trust = Judge::default().observe(before, Duration::from_secs(1));
    assert_eq!(trust, Trust::TooEarly);
}

#[test]
fn a_restart_before_the_mark_is_not_trusted() {
    for (behind, trust) in [
        (YEAR, Trust::BeforeMark),
        (TOLERANCE + 1, Trust::BeforeMark),
        (TOLERANCE, Trust::Yes),
        (0, Trust::Yes),
        // It may have been off.
        (-YEAR, Trust::Yes),
    ] {
        let mut machine = Machine::at(NOW);
        machine.judge.raise(NOW.plus(behind));
        assert_eq!(machine.look(), trust, "{behind}");
        assert_eq!(plausible(NOW, Some(NOW.plus(behind))), trust, "{behind}");
    }
}

#[test]
fn the_mark_is_raised_after_ten_minutes_and_then_goes_with_the_clock() {
    let mut machine = Machine::at(NOW);
    assert_eq!(machine.run(595), Trust::Yes);
    assert_eq!(machine.judge.mark(), None);
    machine.run(5);
    assert_eq!(machine.judge.mark(), Some(NOW.plus(600)));
    machine.run(5);
    assert_eq!(machine.judge.mark(), Some(NOW.plus(605)));
    // Also when nobody looked for long.
    machine.pass(HOUR);
    assert_eq!(machine.look(), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(machine.now()));
    // Another node is ahead by a little.
    machine.judge.raise(machine.now().plus(60));
    machine.run(30);
    assert_eq!(machine.judge.mark(), Some(machine.now().plus(30)));
}

/// A machine asks for the time soon after it has started.
#[test]
fn a_clock_that_is_set_in_the_first_minutes_is_trusted() {
    let mut machine = Machine::at(NOW);
    for step in [2, -40, 3 * HOUR, -2 * HOUR, YEAR, -YEAR] {
        machine.run(60);
        assert_eq!(machine.set(step), Trust::Yes, "{step}");
    }
    assert_eq!(machine.judge.mark(), None);
    assert_eq!(machine.run(600), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(machine.now()));
}

#[test]
fn what_cannot_be_right_is_no_measure_for_what_comes_after_it() {
    let mut machine = Machine::at(UnixTime(0));
    assert_eq!(machine.run(HOUR), Trust::TooEarly);
    assert_eq!(machine.judge.mark(), None);
    assert_eq!(machine.set(NOW.0), Trust::Yes);
    let mut machine = Machine::settled();
    let mark = machine.judge.mark();
    assert_eq!(machine.set(30 * YEAR), Trust::TooLate);
    assert_eq!(machine.run(HOUR), Trust::TooLate);
    assert_eq!(machine.judge.mark(), mark);
    assert_eq!(machine.set(-30 * YEAR), Trust::Yes);
}

#[test]
fn a_jump_ahead_is_not_trusted_at_once_and_raises_no_mark() {
    let mut machine = Machine::settled();
    let mark = machine.judge.mark();
    assert_eq!(machine.set(YEAR), Trust::Jumped);
    assert_eq!(machine.run(595), Trust::Jumped);
    assert_eq!(machine.judge.mark(), mark);
    // Set right again, it is the clock that was trusted before.
    assert_eq!(machine.set(-YEAR), Trust::Yes);
    assert_eq!(machine.set(3 * HOUR), Trust::Jumped);
    assert_eq!(machine.run(595), Trust::Jumped);
    assert_eq!(machine.run(5), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(machine.now()));
}

#[test]
fn a_clock_that_jumps_all_the_time_is_never_trusted() {
    let mut machine = Machine::settled();
    let mark = machine.judge.mark();
    for step in [YEAR, -YEAR / 2, HOUR, YEAR].repeat(50) {
        assert_eq!(machine.set(step), Trust::Jumped);
        assert_eq!(machine.run(300), Trust::Jumped);
        if machine.now() > LATEST.plus(-2 * YEAR) {
            break;
        }
    }
    assert_eq!(machine.judge.mark(), mark);
}

#[test]
fn a_clock_that_is_set_back_waits_for_the_mark() {
    let mut machine = Machine::settled();
    assert_eq!(machine.set(-HOUR), Trust::BeforeMark);
    assert_eq!(machine.run(HOUR - TOLERANCE - 5), Trust::BeforeMark);
    assert_eq!(machine.run(5), Trust::Yes);
    assert_eq!(machine.set(-YEAR), Trust::BeforeMark);
    assert_eq!(machine.set(YEAR), Trust::Yes);
}

#[test]
fn steps_that_add_up_are_a_jump() {
    let mut machine = Machine::settled();
    assert_eq!(machine.set(200), Trust::Yes);
    machine.run(60);
    assert_eq!(machine.set(200), Trust::Jumped);
}

#[test]
fn a_storm_of_five_seconds_raises_the_mark_by_no_more() {
    let mut machine = Machine::settled();
    let mut truth = machine.now();
    machine.wall += 5000;
    for round in 0..2000 {
        let step = if round % 2 == 0 { -10 } else { 10 };
        assert_eq!(machine.set(step), Trust::Yes, "{round}");
        assert!(machine.judge.mark() <= Some(truth.plus(5)), "{round}");
        machine.pass(1);
        truth = truth.plus(1);
    }
}

#[test]
fn leap_seconds_and_small_corrections_do_no_harm() {
    // One second twice.
    let mut machine = Machine::settled();
    assert_eq!(machine.set(-1), Trust::Yes);
    assert_eq!(machine.run(5), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(machine.now()));
    // Spread over a day.
    for _ in 0..1000 {
        machine.pass(86);
        machine.wall -= 1;
        assert_eq!(machine.look(), Trust::Yes);
        assert_eq!(machine.judge.mark(), Some(machine.now()));
    }
}

#[test]
fn a_machine_that_slept_is_trusted_and_one_that_was_stopped_soon() {
    let mut machine = Machine::settled();
    machine.pass(8 * HOUR);
    assert_eq!(machine.look(), Trust::Yes);
    // For a virtual machine no time passed at all, and then it is told what time it is.
    assert_eq!(machine.set(240), Trust::Yes);
    machine.run(600);
    assert_eq!(machine.set(8 * HOUR), Trust::Jumped);
    assert_eq!(machine.run(600), Trust::Yes);
}

#[test]
fn a_reset_is_believed_at_once_and_raises_nothing_for_ten_minutes() {
    // It was a year ahead for too long, and is right now.
    let mut machine = Machine::settled();
    machine.set(YEAR);
    assert_eq!(machine.run(HOUR), Trust::Yes);
    assert_eq!(machine.set(-YEAR), Trust::BeforeMark);
    let now = machine.now();
    machine.judge.reset(now);
    assert_eq!(machine.look(), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(now));
    assert_eq!(machine.run(595), Trust::Yes);
    assert_eq!(machine.judge.mark(), Some(now));
    machine.run(5);
    assert_eq!(machine.judge.mark(), Some(machine.now()));
    // What is before it is not trusted.
    assert_eq!(machine.set(-HOUR), Trust::BeforeMark);
}

/// Within the bounds of the program.
const NOW: UnixTime = EARLIEST.plus(YEAR);
const HOUR: i64 = 3600;
const YEAR: i64 = 31_557_600;
