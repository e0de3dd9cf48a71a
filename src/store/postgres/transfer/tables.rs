//! The tables that are copied row by row: what is read of each, and how it is written.
use super::values::Kind::{
    self, Big, Bytes, Cursor, Digest, Id, Int, Position, Small, StoreTime, Text, WallTime,
};

/// A table that is copied.
#[derive(Debug)]
pub(super) struct Table {
    /// The name of the rows, for people.
    pub(super) name: &'static str,
    /// The table that gets a row for each one that is read; none where fewer may be written.
    pub(super) counted: Option<&'static str>,
    /// The number of columns, the first ones, that are the position from which the next page goes on.
    pub(super) key: usize,
    /// Reads a page. The parameters are the position, and the largest number of rows.
    pub(super) select: &'static str,
    /// The kinds of the columns that are read.
    pub(super) columns: &'static [Kind],
    /// Writes a page. The parameters are the columns but for positions, as arrays.
    pub(super) insert: &'static str,
}

/// The tables that others refer to come before these.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "names",
        counted: Some("name"),
        key: 1,
        select: "select number, kind, name, owners, parked_at, parked from name where number > ?1 order by number limit ?2",
        columns: &[Int, Small, Text, Text, StoreTime, Big],
        insert: "insert into hookgate.name (number, kind, name, owners, parked_at, parked)
            select x.number, x.kind, x.name, x.owners, hookgate.from_us(x.parked_at), coalesce(x.parked, 0)
            from unnest($1, $2, $3, $4, $5, $6) x(number, kind, name, owners, parked_at, parked)",
    },
    Table {
        name: "deliveries",
        counted: Some("delivery"),
        key: 1,
        select: "select row, id, origin, at, key, delivery_id, event_type, record, body, lane, record from delivery where row > ?1 order by row limit ?2",
        columns: &[Position, Id, Int, StoreTime, Bytes, Text, Text, Bytes, Bytes, Bytes, Digest],
        insert: "with x as materialized (select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) with ordinality
                x(id, origin, at, key, delivery_id, event_type, record, body, lane, digest, o)),
            d as (insert into hookgate.delivery (id, origin, at, key, delivery_id, event_type, record, body, lane)
                select id, origin, hookgate.from_us(at), key, delivery_id, event_type, record, body, lane from x order by o),
            w as (insert into hookgate.own_id (origin, delivery_id, delivery, digest)
                select distinct on (origin, delivery_id) origin, delivery_id, id, digest from x where digest is not null and delivery_id is not null
                order by origin, delivery_id, o on conflict (origin, delivery_id) do nothing)
            insert into hookgate.counter select 0, origin, hookgate.day_of(id), count(*), sum(octet_length(record) + octet_length(body)) from x group by 2, 3",
    },
    Table {
        name: "bodies in other versions",
        counted: Some("version"),
        key: 1,
        select: "select v.row, v.id, v.version, v.body, d.origin from version v cross join delivery d on d.id = v.id where v.row > ?1 order by v.row limit ?2",
        columns: &[Position, Id, Int, Bytes, Int],
        insert: "with x as materialized (select * from unnest($1, $2, $3, $4) x(id, version, body, origin)),
            v as (insert into hookgate.version (id, version, body) select id, version, body from x)
            insert into hookgate.counter select 0, origin, hookgate.day_of(id), 0, sum(octet_length(body)) from x group by 2, 3",
    },
    Table {
        name: "waiting units",
        counted: Some("due"),
        key: 2,
        select: "select u.id, u.target, d.origin, u.run_at, u.lease, u.attempt_count, u.cause, u.since, u.lane, u.seq, u.last_attempt
            from due u cross join delivery d on d.id = u.id where (u.id, u.target) > (?1, ?2) order by u.id, u.target limit ?3",
        columns: &[Id, Int, Int, StoreTime, Int, Int, Small, StoreTime, Bytes, Big, Int],
        insert: "with x as materialized (select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                x(id, target, origin, run_at, lease, attempt_count, cause, since, lane, seq, last_attempt)),
            u as (insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, lane, seq, last_attempt)
                select id, target, origin, hookgate.from_us(run_at), lease, false, attempt_count, cause, hookgate.from_us(since), lane, seq, last_attempt from x)
            insert into hookgate.counter select 1, case when target >= 1073741824 then origin else target end, null, count(*), 0 from x group by 2",
    },
    Table {
        name: "dead and cancelled units",
        counted: Some("dead"),
        key: 2,
        select: "select u.id, u.target, d.origin, u.at, u.reason, u.lease, u.attempt_count, u.lane, u.last_attempt
            from dead u cross join delivery d on d.id = u.id where (u.id, u.target) > (?1, ?2) order by u.id, u.target limit ?3",
        columns: &[Id, Int, Int, StoreTime, Int, Int, Int, Bytes, Int],
        insert: "with x as materialized (select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
                x(id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)),
            u as (insert into hookgate.dead (id, target, origin, at, reason, lease, attempt_count, lane, last_attempt)
                select id, target, origin, hookgate.from_us(at), reason, lease, attempt_count, lane, last_attempt from x)
            insert into hookgate.counter select k.kind, case when x.target >= 1073741824 then x.origin else x.target end, null, count(*), 0
                from x cross join (values (2), (3)) k(kind) where k.kind = 2 or x.reason is null group by 1, 2",
    },
    Table {
        name: "attempts",
        counted: Some("attempt"),
        key: 1,
        select: "select a.row, a.id, a.target, a.lease, a.number, a.cause, a.started, a.took, a.connect, a.first_byte, a.status, a.error, a.peer, a.late,
            a.head, a.body, a.facts, e.at, d.origin from attempt a cross join delivery d on d.id = a.id left join ended e on e.id = a.id
            where a.row > ?1 order by a.row limit ?2",
        columns: &[
            Position, Id, Int, Int, Int, Small, WallTime, Big, Big, Big, Int, Text, Text, Small, Bytes, Bytes, Bytes, StoreTime, Int,
        ],
        insert: "with x as materialized (select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) with ordinality
                x(id, target, lease, number, cause, started, took, connect, first_byte, status, error, peer, late, head, body, facts, ended, origin, o)),
            z as (insert into hookgate.attempt (id, target, lease, number, cause, started, took, connect, first_byte, status, error, peer, late, head, body,
                    facts, at)
                select id, target, lease, number, cause, hookgate.from_us(started), took, connect, first_byte, status, error, peer, late <> 0, head, body,
                    case when target >= 1073741824 or octet_length(facts) > 0 then coalesce(facts, '') end,
                    least(coalesce(hookgate.from_us(ended), hookgate.from_us(started) + took * interval '1 ms'), hookgate.store_time())
                from x order by o)
            insert into hookgate.counter select 0, origin, hookgate.day_of(id), 0,
                sum(octet_length(head) + octet_length(body) + coalesce(octet_length(facts), 0)) from x group by 2, 3",
    },
    Table {
        name: "lanes",
        counted: Some("lane"),
        key: 2,
        select: "select l.target, l.lane, l.waiting, l.seq, l.target >= 1073741824 and coalesce((select u.run_at = 9223372036854775807 from due u
                where u.target = l.target and u.lane = l.lane order by u.seq limit 1), 0)
            from lane l where (l.target, l.lane) > (?1, ?2) order by l.target, l.lane limit ?3",
        columns: &[Int, Bytes, Int, Big, Small],
        insert: "insert into hookgate.lane (target, lane, waiting, seq, blocked)
            select x.target, x.lane, x.waiting, x.seq, x.blocked <> 0 from unnest($1, $2, $3, $4, $5) x(target, lane, waiting, seq, blocked)",
    },
    Table {
        name: "sums",
        counted: None,
        key: 2,
        select: "select kind, number from tally where (kind, number) > (?1, ?2) and kind <= 3 order by kind, number limit ?3",
        columns: &[Small, Int],
        insert: "insert into hookgate.counter select x.kind, x.number, null, 0, 0 from unnest($1, $2) x(kind, number)",
    },
    Table {
        name: "audit entries",
        counted: Some("audit"),
        key: 1,
        select: "select row, at, who, what, which, reason, done from audit where row > ?1 order by row limit ?2",
        columns: &[Position, WallTime, Text, Text, Text, Text, Big],
        insert: "insert into hookgate.audit (at, who, what, which, reason, done) select hookgate.from_us(x.at), x.who, x.what, x.which, x.reason, x.done
            from unnest($1, $2, $3, $4, $5, $6) with ordinality x(at, who, what, which, reason, done, o) order by x.o",
    },
    Table {
        name: "tenants",
        counted: Some("tenant"),
        key: 1,
        select: "select number, uid, created, edition, removed_at, settings from tenant where number > ?1 order by number limit ?2",
        columns: &[Int, Text, WallTime, Int, WallTime, Text],
        insert: "insert into hookgate.tenant (number, uid, created, edition, removed_at, settings)
            select x.number, x.uid, hookgate.from_us(x.created), x.edition, hookgate.from_us(x.removed_at), x.settings
            from unnest($1, $2, $3, $4, $5, $6) x(number, uid, created, edition, removed_at, settings)",
    },
    Table {
        name: "endpoints",
        counted: Some("endpoint"),
        key: 1,
        select: "select number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor from endpoint
            where number > ?1 order by number limit ?2",
        columns: &[Int, Text, Int, Text, Int, Small, WallTime, Text, Text, Bytes, Text, Cursor],
        insert: "insert into hookgate.endpoint (number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor)
            select x.number, x.id, x.tenant, x.uid, x.edition, x.state, hookgate.from_us(x.since), x.url, x.settings, x.sealed, x.job, x.cursor
            from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                x(number, id, tenant, uid, edition, state, since, url, settings, sealed, job, cursor)",
    },
    Table {
        name: "secrets of endpoints",
        counted: Some("secret"),
        key: 2,
        select: "select endpoint, n, name, created, ends, sealed from secret where (endpoint, n) > (?1, ?2) order by endpoint, n limit ?3",
        columns: &[Int, Int, Text, WallTime, WallTime, Bytes],
        insert: "insert into hookgate.secret (endpoint, n, name, created, ends, sealed)
            select x.endpoint, x.n, x.name, hookgate.from_us(x.created), hookgate.from_us(x.ends), x.sealed
            from unnest($1, $2, $3, $4, $5, $6) x(endpoint, n, name, created, ends, sealed)",
    },
    Table {
        name: "failures of endpoints",
        counted: Some("health"),
        key: 1,
        select: "select endpoint, since, failures, hours, last, status, cause, first, notified from health where endpoint > ?1 order by endpoint limit ?2",
        columns: &[Int, WallTime, Int, Int, WallTime, Int, Text, Id, Small],
        insert: "insert into hookgate.health (endpoint, since, failures, hours, last, status, cause, first, notified)
            select x.endpoint, hookgate.from_us(x.since), x.failures, x.hours, hookgate.from_us(x.last), x.status, x.cause, x.first, x.notified
            from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9) x(endpoint, since, failures, hours, last, status, cause, first, notified)",
    },
    Table {
        name: "matches of secrets",
        counted: Some("secret_match"),
        key: 1,
        select: "select key, since, last, count, seen from secret_match where key > ?1 order by key limit ?2",
        columns: &[Bytes, StoreTime, StoreTime, Big, StoreTime],
        insert: "insert into hookgate.secret_match (key, since, last, count, seen)
            select x.key, hookgate.from_us(x.since), hookgate.from_us(x.last), x.count, hookgate.from_us(x.seen)
            from unnest($1, $2, $3, $4, $5) x(key, since, last, count, seen)",
    },
];

/// The entries of accepted deliveries in the ledger. They come after the journal, whose marks cancel none of them, and after the units that wait.
pub(super) const LEDGER: Table = Table {
    name: "IDs of deliveries",
    counted: None,
    key: 1,
    select: "select key, delivery, coalesce(ends, until) from ledger where state = 1 and key > ?1 order by key limit ?2",
    columns: &[Bytes, Id, StoreTime],
    insert: "insert into hookgate.ledger as y (key, state, delivery, until)
        select x.key, 2, x.delivery, hookgate.from_us(x.until) from unnest($1, $2, $3) x(key, delivery, until)
        where hookgate.from_us(x.until) > hookgate.store_time() or exists (select 1 from hookgate.due d where d.id = x.delivery)
        on conflict (key) do update set delivery = excluded.delivery, until = greatest(y.until, excluded.until)",
};
