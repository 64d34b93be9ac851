-- A bank, as pgbench has one, with columns of every kind that is easy to get wrong. `accounts` is how many accounts there are at first.

-- wal2json 2.5, which Debian 12 has, writes NaN and the infinities of numbers as null; a domain's values it writes as text.
CREATE DOMAIN measurement AS double precision;

CREATE TABLE branches (
  bid integer PRIMARY KEY,
  name text NOT NULL,
  opened date,
  opens time,
  balance bigint NOT NULL,
  address jsonb,
  created_at timestamptz NOT NULL
);

CREATE TABLE accounts (
  aid bigint PRIMARY KEY,
  bid integer NOT NULL,
  owner varchar(60),
  note text,
  balance numeric(38, 10) NOT NULL,
  risk measurement,
  score double precision,
  active boolean,
  born date,
  last_visit timestamp,
  token uuid,
  picture bytea,
  settings json,
  created_at timestamptz NOT NULL
);

-- Every movement of money; rows are only added, so that each version of a row is worth keeping.
CREATE TABLE history (
  hid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  aid bigint NOT NULL,
  delta numeric(38, 10) NOT NULL,
  filler char(8),
  at timestamptz NOT NULL
);

INSERT INTO branches
SELECT n, 'Branch ' || n, date '1969-12-31' + n, time '08:00' + n * interval '1 minute', 0,
  jsonb_build_object('street', 'Main "Street" ' || n, 'floor', n), timestamptz '2019-03-01 12:00+00' + n * interval '90 days'
FROM generate_series(1, 10) AS n;

INSERT INTO accounts
SELECT n, 1 + n % 10, 'Owner ' || n, CASE n % 3 WHEN 0 THEN '' WHEN 1 THEN 'note ' || n END, n * 1.0000000001, n * 1e-7, n / 7.0,
  n % 2 = 0, date '1950-01-01' + n::integer, timestamp '2025-06-25 16:21:12.123456' + n * interval '1.5 seconds',
  md5(n::text)::uuid, decode(md5(n::text), 'hex'), json_build_object('theme', 'dark', 'n', n),
  timestamptz '2024-01-31 23:30+00' + n % 400 * interval '1 day'
FROM generate_series(1, :accounts) AS n;

-- What tends to go wrong.
INSERT INTO accounts VALUES
  (-1, 1, 'quotes "" and '', commas', E'line\nfeed, carriage\r\nreturn, tab\t, backslash \\n, \U0001F600 é ﷽ \u200B',
    9999999999999999999999999999.9999999999, 'Infinity', 1e300, true, '1899-12-31', '1969-12-31 23:59:59.999999',
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\xdeadbeef00', '{"a" : "q\"\n",  "b":[1e5, null]}', '1965-07-01 00:00:00.25+05:30'),
  (-2, 1, '', '', -0.0000000001, '-Infinity', '-0', false, '0001-01-01', '0001-01-01 00:00:00', NULL, '', '""', '1968-02-29 23:59:59-11'),
  (-3, 1, NULL, NULL, 0, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2024-02-29 12:00:00.000001+14'),
  (-4, 1, '=cmd()', '"', 1, 1e-7, 5e-324, true, '9999-12-31', '9999-12-31 23:59:59.999999', '00000000-0000-0000-0000-000000000000', '\x00',
    'null', '2024-12-31 23:59:59.999999+00'),
  (-5, 1, ' blanks ', E'\n', 1e27, 0.1, 123456789.123456789, false, '1582-10-15', '2024-03-31 02:30:00', NULL, NULL, '[]',
    '2024-03-31 01:30:00+00'),
  -- Its own place's time was not a whole number of minutes off then.
  (-7, 1, 'old', NULL, 1, 1, 1, true, '1900-01-01', '1900-01-01 00:00:00', NULL, NULL, NULL, '1900-01-01 00:00:00+00');

-- Too long to stand in its row: where an update leaves it alone, wal2json leaves it out.
ALTER TABLE accounts ALTER COLUMN note SET STORAGE EXTERNAL;
INSERT INTO accounts
SELECT -6, 1, 'long', string_agg(md5(n::text), E'"\n'), 0, 0, 0, true, NULL, NULL, NULL, NULL, NULL, '2024-05-05 05:05:05+00'
FROM generate_series(1, 1000) AS n;
