-- What a table holds, as the lines that wal2json would have written had its rows been inserted just now.

-- The COPY statement that writes them. `version` is the least that any later change of the table has: no row of the initial state is
-- newer than a change that the stream brings.
CREATE FUNCTION pg_temp.copy_of(rows regclass, version pg_lsn) RETURNS text LANGUAGE sql AS $$
  WITH described AS (
    SELECT a.attnum, a.attname, format_type(base.type, base.typmod) AS type,
      -- Numbers and booleans are bare as far as JSON knows them, which leaves out NaN and Infinity; a domain's value never is.
      CASE
        WHEN t.typtype = 'd' THEN format('to_json(%I::text)::text', a.attname)
        WHEN base.type = 'bytea'::regtype THEN format($f$to_json(encode(%I, 'hex'))::text$f$, a.attname)
        WHEN base.type = 'boolean'::regtype THEN format('%I::text', a.attname)
        WHEN base.type IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype, 'oid'::regtype)
          THEN format('%I::text', a.attname)
        WHEN base.type IN ('real'::regtype, 'double precision'::regtype, 'numeric'::regtype)
          THEN format($f$CASE WHEN %1$I::text ~ '^-?\d' THEN %1$I::text ELSE to_json(%1$I::text)::text END$f$, a.attname)
        -- Not a cast to text, which takes the blanks off a character(5).
        ELSE format($f$CASE WHEN %1$I IS DISTINCT FROM NULL THEN to_json(format('%%s', %1$I))::text END$f$, a.attname)
      END AS value
    FROM pg_attribute a
    JOIN pg_type t ON t.oid = a.atttypid,
    LATERAL (
      SELECT CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END AS type,
        CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod
    ) AS base
    WHERE a.attrelid = rows AND a.attnum > 0 AND NOT a.attisdropped
  ), key AS (
    SELECT coalesce(json_agg(json_build_object('name', d.attname, 'type', d.type) ORDER BY k.place), '[]')::text AS columns
    FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
    JOIN described d USING (attnum)
    WHERE i.indrelid = rows AND i.indisprimary
  )
  -- JSON has no control characters, so CSV with these two as its signs leaves every line as it is. COPY's own text form would
  -- double the backslashes.
  SELECT format(
    $q$COPY (SELECT %L || %s || %L FROM %s) TO STDOUT (FORMAT csv, QUOTE E'\x01', ESCAPE E'\x01', DELIMITER E'\x02')$q$,
    format(
      '{"action":"I","timestamp":"%s","lsn":"%s","schema":%s,"table":%s,"columns":[',
      now(), version, to_json(n.nspname), to_json(c.relname)),
    (
      SELECT string_agg(
        format('%L || coalesce(%s, %L)', format('{"name":%s,"type":%s,"value":', to_json(attname), to_json(type)), value, 'null'),
        ' || ''},'' || ' ORDER BY attnum)
      FROM described
    ),
    format('}],"pk":%s}', (SELECT columns FROM key)),
    rows)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = rows
$$;
