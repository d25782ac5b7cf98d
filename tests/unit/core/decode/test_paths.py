"""The tree of the configured paths."""

from __future__ import annotations

from vortex.core.decode.paths import trie_of


def test_trie_of_has_a_node_for_each_key_and_the_fields_that_end_there() -> None:
    paths: dict[str, list[tuple[str, ...]]] = {"customer": [("org", "login"), ("customer",)], "type": [("type",)]}
    paths |= {"id": [("org",)], "time": []}
    trie = trie_of(paths)
    assert set(trie) == {"org", "customer", "type"}
    assert (trie["org"].fields, trie["org"]["login"].fields) == (["id"], ["customer"])
    assert (trie["customer"].fields, trie["type"].fields, trie.fields) == (["customer"], ["type"], [])
