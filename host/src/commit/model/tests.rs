//! The searches.

use super::{Model, Mutant, Publishing};

const EVERY_PUBLISHING: [Publishing; 3] = [Publishing::Parts, Publishing::ReplaceIfMatch, Publishing::Rename];

/// What a user can come in the way of.
const GROWING: [Publishing; 2] = [Publishing::ReplaceIfMatch, Publishing::Rename];

fn assert_caught(mutant: Mutant, how: &str) {
    let found: Vec<_> = EVERY_PUBLISHING
        .iter()
        .filter_map(|publishing| Model { mutant, publishing: *publishing, edits: 0 }.search().violation)
        .collect();
    assert!(!found.is_empty(), "{mutant:?} was not caught");
    assert!(found.iter().any(|violation| violation.starts_with(how)), "{mutant:?} was caught by {}", found[0]);
}

#[test]
fn no_interleaving_loses_doubles_or_changes_a_record() {
    for publishing in EVERY_PUBLISHING {
        let found = Model { mutant: Mutant::None, publishing, edits: 0 }.search();
        assert_eq!(found.violation, None, "{publishing:?}");
        assert!(found.states > 30_000, "the search visited {} states only", found.states);
        println!("{publishing:?}: {} states", found.states);
    }
}

#[test]
fn an_owner_without_a_fence_is_caught() {
    assert_caught(Mutant::NoFence, "changed");
}

#[test]
fn an_owner_that_does_not_check_the_boundary_is_caught() {
    assert_caught(Mutant::NoBoundaryCheck, "changed");
}

#[test]
fn overwriting_slots_instead_of_creating_them_is_caught() {
    assert_caught(Mutant::OverwritesSlots, "");
}

#[test]
fn acknowledging_before_the_commit_is_caught() {
    assert_caught(Mutant::AcknowledgesBeforeCommit, "lost");
}

#[test]
fn taking_ones_own_entry_for_someone_elses_is_caught() {
    assert_caught(Mutant::TakesItsOwnForSomeoneElses, "stopped for no reason");
}

#[test]
fn taking_someone_elses_entry_for_ones_own_is_caught() {
    assert_caught(Mutant::TakesSomeoneElsesForItsOwn, "");
}

#[test]
fn running_plugins_again_in_recovery_is_caught() {
    assert_caught(Mutant::RunsPluginsAgainInRecovery, "changed");
}

#[test]
fn sweeping_what_a_successor_staged_is_caught() {
    assert_caught(Mutant::SweepsItsSuccessors, "lost");
}

fn assert_caught_with_a_user(mutant: Mutant, how: &str) {
    let search = |publishing| Model { mutant, publishing, edits: 1 }.search().violation;
    let found: Vec<_> = GROWING.into_iter().filter_map(search).collect();
    assert!(!found.is_empty(), "{mutant:?} was not caught");
    assert!(found.iter().any(|violation| violation.starts_with(how)), "{mutant:?} was caught by {}", found[0]);
}

#[test]
fn a_user_who_moves_edits_or_adds_a_file_at_any_time_makes_no_record_lost_or_doubled() {
    for publishing in GROWING {
        let found = Model { mutant: Mutant::None, publishing, edits: 1 }.search();
        assert_eq!(found.violation, None, "{publishing:?}");
        assert!(found.states > 30_000, "the search visited {} states only", found.states);
        println!("{publishing:?}: {} states", found.states);
    }
}

#[test]
fn moving_on_to_the_next_part_twice_is_caught() {
    assert_caught_with_a_user(Mutant::MovesOnTwice, "doubled");
}

#[test]
fn overwriting_a_file_that_is_not_known_is_caught() {
    assert_caught_with_a_user(Mutant::OverwritesUnknownFiles, "changed");
}

#[test]
fn moving_on_to_the_next_part_though_replaced_is_caught() {
    assert_caught_with_a_user(Mutant::MovesOnThoughReplaced, "lost");
}

#[test]
fn listing_the_parts_after_the_look_at_the_log_is_caught() {
    assert_caught_with_a_user(Mutant::DoesNotLookAgain, "doubled");
}

#[test]
fn deleting_what_a_successor_has_to_publish_is_caught() {
    assert_caught_with_a_user(Mutant::DiscardsThoughReplaced, "lost");
}

#[test]
fn deleting_what_was_staged_only_after_the_whole_commit_is_caught() {
    assert_caught_with_a_user(Mutant::KeepsWhatItStaged, "doubled");
}

#[test]
fn repeating_the_base_in_the_next_part_is_caught() {
    assert_caught_with_a_user(Mutant::RepeatsTheBase, "doubled");
}

#[test]
fn leaving_what_a_dead_owner_did_not_publish_is_caught() {
    assert_caught(Mutant::LeavesUnpublished, "lost");
}

#[test]
fn noting_an_end_before_everything_is_published_is_caught() {
    assert_caught(Mutant::EndsBeforePublishing, "lost");
}

#[test]
fn taking_a_lost_log_for_a_new_one_is_caught() {
    assert_caught(Mutant::TakesALostLogForANewOne, "took a lost log");
}

#[test]
fn an_owner_that_withdraws_and_deletes_what_it_committed_is_caught() {
    assert_caught(Mutant::SweepsItsCommits, "lost");
}

#[test]
fn withdrawing_before_another_owner_is_there_is_caught() {
    assert_caught(Mutant::WithdrawsThoughNotReplaced, "lost");
}
