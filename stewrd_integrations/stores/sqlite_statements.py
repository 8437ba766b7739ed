"""What the SQLite store asks of its file: each statement names its namespace first."""

from __future__ import annotations

# "CROSS" makes it begin with its first table: a key has few rows.
FIND = """
    SELECT id, body FROM binding_keys CROSS JOIN bindings USING (namespace, id)
    WHERE namespace = ? AND key = ? AND until > ? ORDER BY number DESC LIMIT ?"""
ADD = "INSERT INTO bindings VALUES (?, ?, ?, ?)"
ADD_KEY = """
    INSERT INTO binding_keys SELECT ?, ?, coalesce(max(number), 0) + 1, ?
    FROM binding_keys WHERE namespace = ? AND key = ?"""
REMOVE = "DELETE FROM bindings WHERE namespace = ? AND id = ?"
REMOVE_KEYS = "DELETE FROM binding_keys WHERE namespace = ? AND id = ?"
OLD_BINDINGS = "SELECT id FROM bindings WHERE namespace = ? AND until <= ? LIMIT ?"
ALL_BINDINGS = "SELECT id, until, body FROM bindings WHERE namespace = ? AND until > ?"

SLOTS = "SELECT slot, until FROM slots WHERE namespace = ? AND pool = ? AND until > ?"
OCCUPY = "INSERT OR REPLACE INTO slots VALUES (?, ?, ?, ?)"
VACATE = "DELETE FROM slots WHERE namespace = ? AND pool = ? AND slot = ?"
OLD_SLOTS = "SELECT pool, slot FROM slots WHERE namespace = ? AND until <= ? LIMIT ?"
ALL_SLOTS = "SELECT pool, slot, until FROM slots WHERE namespace = ? AND until > ?"

READ_NOTE = "SELECT body FROM notes WHERE namespace = ? AND key = ? AND until > ?"
WRITE_NOTE = "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)"
REMOVE_NOTE = "DELETE FROM notes WHERE namespace = ? AND key = ?"
OLD_NOTES = "SELECT key FROM notes WHERE namespace = ? AND until <= ? LIMIT ?"
COUNT_NOTES = "SELECT count(*) FROM notes WHERE namespace = ? AND until > ?"

NEWEST_LIFE = """
    SELECT life, until FROM transcripts WHERE namespace = ? AND conversation = ?
    ORDER BY life DESC LIMIT 1"""
BEGIN_LIFE = "INSERT OR REPLACE INTO transcripts VALUES (?, ?, ?, ?)"
END_LIFE = "DELETE FROM transcripts WHERE namespace = ? AND conversation = ? AND life = ?"
END_LIVES = "DELETE FROM transcripts WHERE namespace = ? AND conversation = ?"
OLD_LIVES = "SELECT conversation, life FROM transcripts WHERE namespace = ? AND until <= ? LIMIT ?"
LINES = """
    SELECT line FROM lines WHERE namespace = ? AND conversation = ? AND life = ?
    ORDER BY number"""
LAST_LINE = """
    SELECT coalesce(max(number), 0) FROM lines
    WHERE namespace = ? AND conversation = ? AND life = ?"""
ADD_LINE = "INSERT INTO lines VALUES (?, ?, ?, ?, ?)"
RENEW_LINE = """
    UPDATE lines SET line = ?
    WHERE namespace = ? AND conversation = ? AND life = ? AND number = ?"""
REMOVE_LINES = "DELETE FROM lines WHERE namespace = ? AND conversation = ? AND life = ?"
REMOVE_LINES_UP_TO = REMOVE_LINES + " AND number <= ?"
REMOVE_ALL_LINES = "DELETE FROM lines WHERE namespace = ? AND conversation = ?"
SOME_LINES = """
    SELECT number FROM lines WHERE namespace = ? AND conversation = ? AND life = ?
    ORDER BY number LIMIT ?"""
LINES_AFTER = """
    SELECT conversation, life, number, line FROM lines
    WHERE namespace = ? AND (conversation, life, number) > (?, ?, ?)
    ORDER BY conversation, life, number LIMIT ?"""
ALL_TRANSCRIPTS = """
    SELECT conversation, until, (SELECT count(*) FROM lines
        WHERE lines.namespace = transcripts.namespace
        AND lines.conversation = transcripts.conversation AND lines.life = transcripts.life)
    FROM transcripts WHERE namespace = ? AND until > ?"""

CANARY = "SELECT line FROM canaries WHERE namespace = ?"
SET_CANARY = "INSERT OR REPLACE INTO canaries VALUES (?, ?)"
