-- The store's time, and what all other functions use.

-- Returns the store's time. Callers pass durations, never times, so that clocks of gateways need not agree. A test replaces this function in its own
-- schema, and so moves time for all gateways at once.
create or replace function hookgate.store_time() returns timestamptz language sql stable as $$ select now() $$;

-- Returns the first ID that a UUIDv7 of a day can be.
create or replace function hookgate.first_id(day date) returns uuid language sql immutable strict parallel safe as
    $$ select (lpad(to_hex((extract(epoch from day::timestamp) * 1000)::bigint), 12, '0') || '00000000000000000000')::uuid $$;

-- Returns the day of an ID.
create or replace function hookgate.day_of(id uuid) returns date language sql immutable strict parallel safe as
    $$ select date '1970-01-01' + (('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 86400000)::int $$;

-- Returns a time as microseconds since 1970. A time that never comes is the largest number.
create or replace function hookgate.to_us(at timestamptz) returns bigint language sql immutable strict parallel safe as
    $$ select case when at = 'infinity' then 9223372036854775807 else (extract(epoch from at) * 1000000)::bigint end $$;

-- Returns what `to_us` was given. The smallest number is before all times.
create or replace function hookgate.from_us(us bigint) returns timestamptz language sql immutable strict parallel safe as
    $$ select case us when 9223372036854775807 then 'infinity' when -9223372036854775808 then '-infinity'
        else timestamptz 'epoch' + us * interval '1 us' end $$;

-- Returns whole milliseconds of a span; a part of one counts as one.
create or replace function hookgate.ms_of(span interval) returns bigint language sql immutable strict parallel safe as
    $$ select ceil(extract(epoch from span) * 1000)::bigint $$;

-- Makes sure that the commit of this transaction is on the disk before it is acknowledged, whatever the role's setting is. `remote_apply` stays.
create or replace function hookgate.wait_for_disk() returns void language plpgsql volatile as $$
begin
    if current_setting('synchronous_commit') in ('off', 'local', 'remote_write') then perform set_config('synchronous_commit', 'on', true); end if;
end $$;

-- Returns what a gateway reads when it connects: the version of the schema, the hash key of the store, its time, whether it takes writes, and the version
-- of the server.
create or replace function hookgate.store_1() returns table (schema text, hash_key bytea, at timestamptz, writable boolean, server int)
    language sql stable as $$
    select (select value from hookgate.meta where name = 'schema'), (select decode(value, 'hex') from hookgate.meta where name = 'hash_key'),
        hookgate.store_time(), not pg_is_in_recovery() and current_setting('transaction_read_only') = 'off', current_setting('server_version_num')::int
$$;

-- Returns the times of targets: the store's, without the time in which a name's number was parked. The ages of waiting units are counted in it. Targets that
-- are no names of a config, or were never parked, are left out: their time is the store's.
create or replace function hookgate.parked_times(targets int[]) returns table (target int, at timestamptz) language sql stable as $$
    select n.number, coalesce(n.parked_at, hookgate.store_time()) - n.parked * interval '1 ms' from hookgate.name n
    where n.number = any(targets) and (n.parked > 0 or n.parked_at is not null)
$$;

-- Returns those of these targets that are endpoints which are removed or being removed: a unit for one is dead at once, since nothing would end it.
create or replace function hookgate.removed_among(targets int[]) returns int[] language sql stable as $$
    select coalesce(array_agg(e.number), '{}') from (select distinct t from unnest(targets) t where t >= 1073741824) d
    cross join lateral (select e.number from hookgate.endpoint e where e.number = d.t and e.state in (5, 6) offset 0) e
$$;

-- Writes an act into the audit: in the row `goes_on`, or in one of its own. Returns its number. The last 10,000 are kept.
create or replace function hookgate.note_act(who text, what text, which text, because text, done bigint, goes_on bigint) returns bigint
language plpgsql volatile as $$
declare found bigint;
begin
    update hookgate.audit a set done = a.done + note_act.done where a.number = goes_on returning number into found;
    if found is not null then return found; end if;
    insert into hookgate.audit (at, who, what, which, reason, done) values (hookgate.store_time(), who, what, which, because, done)
        returning number into found;
    -- acts do not wait for each other's deletions
    delete from hookgate.audit where ctid = any(array(
        select a.ctid from hookgate.audit a where a.number <= found - 10000 order by a.number limit 100 for update skip locked));
    return found;
end $$;
