//! Status that nobody told: what of it is remembered, and that it counts as open only where somebody was asked.

use super::*;

/// One question that fails must not let all mail of the next hour through.
#[test]
fn a_path_with_an_open_status_is_not_kept() {
    let mut world = World::new();
    world.settings.revocation = RevocationMode::IfAvailable;
    let alice = world.person(ALICE);
    let mail = alice.sign(ALICE, Form::Clear);
    let cache = PathCache::default();
    let lists = std::mem::take(&mut world.crls);
    for known in [&lists[..0], &lists[..1], &lists[1..]] {
        world.crls = known.to_vec();
        let (verdict, asked) = world.cached_verdict(&mail, NOW, &cache);
        assert_eq!((reason(&verdict), asked), (Reason::Ok, 3));
        assert!(has_note(&verdict, NoteId::StatusUnknown));
        assert!(cache.is_empty());
    }
    world.publish(&[&alice.certificate]);
    let (verdict, _) = world.cached_verdict(&mail, NOW, &cache);
    assert_eq!(reason(&verdict), Reason::Revoked);
    // With nothing left open it is kept as ever.
    world.publish(&[]);
    world.cached_verdict(&mail, NOW, &cache);
    assert_eq!(cache.len(), 1);
    assert_eq!(world.cached_verdict(&mail, NOW, &cache).1, 0);
}
