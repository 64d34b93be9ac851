-- A transaction of pgbench: money moves; one in twenty closes an account, one in twenty opens one.
\set aid random(1, :accounts)
\set bid random(1, 10)
\set delta random(-5000, 5000)
\set what random(1, 20)
BEGIN;
\if :what = 1
DELETE FROM accounts WHERE aid = :aid;
\elif :what = 2
INSERT INTO accounts (aid, bid, owner, balance, active, created_at)
VALUES (:aid + :accounts, :bid, 'New "owner" ' || :aid, 0, true, clock_timestamp()) ON CONFLICT DO NOTHING;
\else
UPDATE accounts SET balance = balance + :delta / 3.0, last_visit = clock_timestamp() AT TIME ZONE 'UTC', active = NOT active
WHERE aid = :aid;
\endif
UPDATE branches SET balance = balance + :delta WHERE bid = :bid;
INSERT INTO history (aid, delta, filler, at) VALUES (:aid, :delta, 'x', clock_timestamp());
END;
