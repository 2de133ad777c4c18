//! End-to-end tests: the built program between real parts, one behaviour a module.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod a_broken_connection_breaks_no_promise;
mod a_changed_byte_never_passes_unnoticed;
mod a_failing_call_leaves_files_whole;
mod a_failing_disk_loses_no_mail;
mod a_failing_store_is_whole_at_the_next_start;
mod a_killed_kenin_loses_no_mail;
mod a_milter_answers_at_the_end_of_a_mail;
mod another_milter_client_understands_the_answers;
mod bad_configuration_is_told_with_its_place;
mod caps_hold_at_their_edges;
mod certificate_text_cannot_add_header_lines;
mod changed_mail_is_sealed;
mod dependency_rules;
mod every_answer_is_true_whatever_fails;
mod every_command_in_every_state_has_its_reply;
mod forged_signatures_get_their_rows_verdict;
mod forged_stamps_are_removed_and_one_true_set_is_added;
mod limits_and_rules_of_a_site_are_kept;
mod lmtp_answers_each_recipient;
mod only_crlf_dot_crlf_ends_a_message;
mod recipients_who_are_treated_differently_get_their_own_copy;
mod resource_bombs_cost_little;
mod signed_mail_through_exim_arrives_unchanged;
mod signed_mail_through_postfix_arrives_unchanged;
mod sigterm_drains_and_a_reload_cannot_break;
mod slow_http_clients_keep_nobody_out;
mod suites;
mod the_demo_checks_itself;
mod the_documentation_is_true;
mod the_gateway_says_what_verify_says;
mod the_harness_itself_is_sound;
mod the_next_hops_answer_is_the_answer;
mod the_readme_setup_works_as_printed;
mod the_rfcs_examples_are_refused_politely;
mod the_signed_statement_holds_for_its_mail_only;
mod thunderbirds_messages_are_read;
mod tls_is_neither_injected_nor_stripped;
mod verify_reads_every_form_and_keeps_its_order;
mod what_the_next_hop_cannot_take_is_refused;
