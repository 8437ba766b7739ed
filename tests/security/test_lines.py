"""Every line of what is promised of security, and the tests that prove it.

This fails if a proof is renamed or removed, so that no promise is left without one.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ERRORS, OBJECTS = "security/test_key_in_errors.py", "security/test_key_in_objects.py"
ECHOES, FORGING = "security/test_echoes.py", "security/test_forging.py"
IDS, CREDENTIALS = "security/test_ids_and_tenants.py", "api/test_credentials.py"
DOWNLOADS, REPLAY, WHO = (
    "api/test_downloads.py",
    "sessions/test_replay.py",
    "sessions/test_turn_who.py",
)
WEBHOOKS, PEER = "api/test_webhooks.py", "api/test_sse_peer.py"

PROOFS: dict[str, list[tuple[str, str]]] = {
    # -- the key
    "a key is stripped, and must be letters that a header can carry": [
        (CREDENTIALS, "test_where_a_key_can_come_from"),
        (CREDENTIALS, "test_a_bad_key_is_in_nothing_that_is_raised"),
        (ERRORS, "test_a_key_that_no_header_can_carry"),
    ],
    "the key is in no error, traceback or log": [
        (ERRORS, "test_every_row_of_the_failure_table"),
        (ERRORS, "test_in_a_chain_with_fallbacks_and_retries"),
        (ERRORS, "test_in_a_chat_engine"),
        (ERRORS, "test_what_a_cancelled_call_shows"),
        (ERRORS, "test_what_an_interrupted_stream_shows"),
        (ERRORS, "test_a_key_under_a_wrong_name"),
    ],
    "the key is in no repr, dump, copy or pickle": [
        (OBJECTS, "test_reprs_and_dumps"),
        (OBJECTS, "test_objects_that_are_reached_by_the_garbage_collector"),
        (OBJECTS, "test_a_key_is_in_no_pickle_and_no_dictionary"),
        (OBJECTS, "test_what_langchain_writes_down"),
        ("security/test_pickles_of_models.py", "test_no_secret_is_in_a_pickle"),
    ],
    "the key is in no trace": [
        (OBJECTS, "test_what_langchain_traces"),
        (OBJECTS, "test_what_llama_index_traces"),
    ],
    "the key is in no store and no recording": [
        (OBJECTS, "test_a_memory_store"),
        (OBJECTS, "test_a_file_of_sqlite"),
        (OBJECTS, "test_a_dump_of_redis"),
        (OBJECTS, "test_recordings"),
    ],
    "a key that a server repeats is hidden, whatever its form": [
        (ECHOES, "test_a_veil_hides_every_form"),
        (ECHOES, "test_an_echo_is_in_no_error_and_in_none_of_our_logs"),
        (ECHOES, "test_an_echo_in_an_answer_is_neither_metadata_nor_kept"),
        (ECHOES, "test_the_key_of_the_very_request_is_hidden_where_keys_rotate"),
    ],
    # -- the wire
    "ids are checked before they go into a path": [
        ("api/test_requests.py", "test_ids_that_do_not_fit_into_a_path"),
        (IDS, "test_a_session_id_that_is_a_path_is_none"),
        (IDS, "test_a_stored_session_id_that_is_a_path_is_never_asked_for"),
    ],
    "https, unless it is this machine": [
        (CREDENTIALS, "test_base_urls_that_are_refused"),
        (CREDENTIALS, "test_loopback"),
    ],
    "redirects are not followed, so the key goes nowhere else": [
        ("api/test_failures.py", "test_a_refusal_is_never_repeated"),
        (IDS, "test_no_redirect_is_followed_whatever_the_users_client_does"),
    ],
    "a stream is bounded in every way": [
        (PEER, "test_what_has_no_end_is_refused"),
        (PEER, "test_events_without_end_are_refused"),
        (PEER, "test_over_a_socket_the_connection_is_closed"),
        (PEER, "test_odd_packings_are_refused_unread"),
        (PEER, "test_both_read_the_same_events"),
    ],
    # -- downloads
    "downloads: no key, https, public addresses, pinned": [
        (DOWNLOADS, "test_a_file_is_downloaded"),
        (DOWNLOADS, "test_addresses_that_are_not_plain_https"),
        (DOWNLOADS, "test_addresses_that_are_not_public"),
        (DOWNLOADS, "test_this_machine_is_not_public"),
        (DOWNLOADS, "test_a_name_that_leads_home_is_refused"),
        (DOWNLOADS, "test_the_address_that_was_checked_is_the_one_that_is_spoken_to"),
        (DOWNLOADS, "test_no_proxy_is_asked"),
    ],
    "downloads: no redirects, sizes of raw bytes, names of our own": [
        (DOWNLOADS, "test_answers_that_are_not_the_file"),
        (DOWNLOADS, "test_a_file_of_just_the_size"),
        (DOWNLOADS, "test_names_are_our_own"),
        (DOWNLOADS, "test_nothing_is_replaced_and_no_link_followed"),
    ],
    # -- replays
    "no message passes for another": [
        (FORGING, "test_texts_of_every_role_after_an_edit"),
        (FORGING, "test_a_current_message_that_is_hostile"),
        (FORGING, "test_instructions_that_are_hostile"),
        (FORGING, "test_an_answer_that_is_hostile"),
        (FORGING, "test_outputs_and_arguments_of_tools"),
        (FORGING, "test_names_and_contents_of_files"),
        (FORGING, "test_names_of_people"),
        (FORGING, "test_any_replay_reads_as_it_was"),
        (FORGING, "test_any_addition_reads_as_it_was"),
    ],
    "a fence is new each time, and never one that occurs": [
        (FORGING, "test_every_fence_is_new"),
        (FORGING, "test_an_envelope_that_was_seen_is_of_no_use"),
        (REPLAY, "test_a_nonce_that_occurs_in_a_text_is_not_used"),
    ],
    "what is not to be seen is escaped, other letters are left alone": [
        (REPLAY, "test_json_lines_hold_no_control_or_bidi_character"),
        (IDS, "test_other_letters_cost_what_they_cost"),
    ],
    # -- tenants
    "tenants never meet, and share the project's slots": [
        (WHO, "test_tenants_never_meet"),
        ("test_promises.py", "test_identical_conversations_never_meet"),
        (FORGING, "test_names_of_conversations_and_tenants"),
        (IDS, "test_tenants_share_the_slots_of_their_project"),
    ],
    "a name is the only key of a named call": [
        (WHO, "test_a_name_never_falls_through_to_a_mark"),
        (WHO, "test_a_mark_never_falls_through_to_content"),
        (WHO, "test_a_guessed_name_with_a_guessed_answer"),
    ],
    # -- webhooks
    "webhooks: raw bytes, any of several signatures, no empty secrets": [
        (WEBHOOKS, "test_only_bytes_can_be_verified"),
        (WEBHOOKS, "test_any_of_several_signatures_will_do"),
        (WEBHOOKS, "test_what_was_not_signed_is_refused"),
        (WEBHOOKS, "test_an_empty_or_odd_secret_is_refused"),
    ],
    "webhooks: ASCII digits, five minutes either way": [
        (WEBHOOKS, "test_a_malformed_signature_is_refused"),
        (WEBHOOKS, "test_five_minutes_either_way_are_in_time"),
        (WEBHOOKS, "test_more_are_not"),
    ],
    "webhooks: an error tells nothing": [
        (WEBHOOKS, "test_an_error_holds_neither_body_nor_secret_nor_signature"),
    ],
    # -- and
    "who is cancelled stops": [
        ("api/test_cancelled.py", "test_a_cancellation_is_never_swallowed"),
        ("security/test_cancelled_waits.py", "test_nobody_waits_by_what_swallows_a_cancellation"),
    ],
    "what others wrote into a store breaks no turn": [
        ("stores/test_spoilt.py", "test_it_is_told_of_and_never_continued"),
        ("security/test_spoilt_notes.py", "test_a_note_with_anything_of_the_wrong_kind_is_empty"),
    ],
}


@pytest.mark.parametrize("line", PROOFS)
def test_each_line_has_its_proofs(line: str) -> None:
    assert PROOFS[line]
    for file, name in PROOFS[line]:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        defined = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
        assert name in defined, f"{name} is not in {file} any more: what proves it now?"
