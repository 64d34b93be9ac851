-- The same question to the database and to the lake: how many rows there are, and a digest of what is in them.
SELECT 'accounts', count(*), md5(string_agg(concat_ws('|', aid, bid, owner, note, balance, risk, tier), ',' ORDER BY aid::bigint))
FROM accounts;
SELECT 'branches', count(*), md5(string_agg(concat_ws('|', bid, name, balance, opened), ',' ORDER BY bid::bigint)) FROM branches;
SELECT 'history', count(*), md5(string_agg(concat_ws('|', hid, aid, delta), ',' ORDER BY hid::bigint)) FROM history;
