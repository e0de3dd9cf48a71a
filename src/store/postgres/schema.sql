-- The tables of the store on PostgreSQL 15 and later. `hookgate.` stands for the configured schema: the program replaces it by the quoted name.
-- The schema is there when this file is run. The file can be run again: it only adds what is missing. Then come functions/*.sql, in the order of their names.
--
-- Rules that all functions keep:
--   * A call of the program is one statement, which calls one function: one round trip, one transaction. There is no session state: any pooler works.
--   * Signatures have built-in types only. `_1` is the version of a function's signature and meaning: the next version of the program adds `_2` beside
--     it, and drops `_1` one minor version later. Functions without a number are called by other functions alone.
--   * Rows are looked up by key in `cross join lateral (... offset 0)`, and changed by `ctid = any(array(...))` of rows that the same statement locked.
--     So the planner has no choice that is good for an empty table and bad for a full one. A statement that waited for a lock still sees the rows as they
--     were when it began: where another may change a row meanwhile, and the change must not be lost, one statement locks, and the next one changes.
--   * Locks are taken in one order: tenant -> endpoint -> the order lock of endpoints -> ledger (by key) -> own_id (by origin, ID) -> delivery (by ID) ->
--     dead -> lane (by target, lane) -> due -> health (by endpoint). `settle_1` comes from its own rows of `due` to lanes. Therefore all others
--     lock lanes first, then only those rows of `due` that are not locked (`skip locked`): a unit that is being settled is left to its holder.
--   * No call waits longer than a second for a row: a transaction that waits for a standby which is gone keeps its locks for as long.
--   * No row is a counter that everybody changes: sums are differences in `counter`, which are added up when they are read.

-- Names and their values: the version of the schema, the hash key of the store, the text by which the key of seals is recognised, schedules.
create table if not exists hookgate.meta (name text primary key, value text not null);
insert into hookgate.meta values ('schema', '1.0'), ('names_edition', '0'),
    ('hash_key', encode(substr(sha256((gen_random_uuid()::text || gen_random_uuid()::text || clock_timestamp()::text)::bytea), 1, 16), 'hex'))
    on conflict do nothing;

-- Numbers of names of configs. `name` is the name of a number's ledger, `owners` the names that have had the number, the newest last.
-- `parked_at` is the time since which no gateway's config has the number, `parked` the milliseconds of earlier such times.
create table if not exists hookgate.name (number int primary key, kind smallint not null, name text not null, owners text not null,
    parked_at timestamptz, parked bigint not null default 0, unique (kind, name));

-- state 1: claimed, 2: committed or noted (without a token). Nothing but the key has an index, so that a commit is an update within the page (HOT). The
-- sweep walks the table by ctid.
create table if not exists hookgate.ledger (key bytea primary key, state smallint not null, token uuid, delivery uuid, until timestamptz not null)
    with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
-- The time since which the ledger of a route is complete, and the last time at which a gateway said that it keeps it.
create table if not exists hookgate.kept_route (route text primary key, policy bytea not null, since timestamptz not null, seen timestamptz not null);

-- Append-only, one partition a day. `key` has no index here: the ledger finds a delivery by its key. `lane` is its lane at every target.
create table if not exists hookgate.delivery (id uuid not null, origin int not null, at timestamptz not null, key bytea, delivery_id text,
    event_type text, record bytea not null, body bytea not null, lane bytea, primary key (id)) partition by range (id);
create index if not exists delivery_origin on hookgate.delivery (origin, id);
create index if not exists delivery_own on hookgate.delivery (delivery_id, origin) where delivery_id is not null;
-- Bodies of events in other versions of their types.
create table if not exists hookgate.version (id uuid not null, version int not null, body bytea not null, primary key (id, version)) partition by range (id);
-- IDs that an app gave to its events: each is taken once by the deliveries of its origin, while the one that has it is stored.
create table if not exists hookgate.own_id (origin int not null, delivery_id text not null, delivery uuid not null, digest bytea not null,
    primary key (origin, delivery_id));

-- The units that wait: the only hot table. A leased unit is due when its lease ends. `lease` is the number of the last lease, which only grows and fences;
-- `lapses` counts leases in a row that were not settled. `since` is in the time of the target, which leaves out the time in which it was parked.
create table if not exists hookgate.due (id uuid not null, target int not null, origin int not null, run_at timestamptz not null, lease int not null,
    leased boolean not null, lapses smallint not null default 0, attempt_count int not null, cause smallint not null, since timestamptz not null,
    lane bytea, seq bigint, last_attempt int not null, leased_at timestamptz, primary key (id, target))
    with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index if not exists due_first on hookgate.due (target, run_at) where attempt_count = 0;
create index if not exists due_retry on hookgate.due (target, run_at) where attempt_count > 0;
create index if not exists due_lane on hookgate.due (target, lane, seq) where lane is not null;

-- Attempts. `lease` is the lease under which one was made, `number` the one that was sent with it. `at` is the time at which the row was written, by which
-- retention knows when a delivery ended. `facts` is not null for attempts to endpoints.
create sequence if not exists hookgate.attempt_entry;
create table if not exists hookgate.attempt (id uuid not null, target int not null, lease int not null, number int not null, cause smallint not null,
    started timestamptz not null, took bigint not null, connect bigint, first_byte bigint, status int, error text, peer text, late boolean not null,
    head bytea not null, body bytea not null, facts bytea, at timestamptz not null, entry bigint not null default nextval('hookgate.attempt_entry'),
    primary key (id, target, lease)) partition by range (id);
create index if not exists attempt_target on hookgate.attempt (target, entry) where facts is not null;
create index if not exists attempt_at on hookgate.attempt using brin (at) with (autosummarize = on);

-- Units that are dead, or cancelled if there is no reason. A unit in neither `due` nor `dead` was delivered.
create table if not exists hookgate.dead (id uuid not null, target int not null, origin int not null, at timestamptz not null, reason int,
    lease int not null, attempt_count int not null, lane bytea, last_attempt int not null, primary key (id, target));
create index if not exists dead_target on hookgate.dead (target, id);

-- Lanes: the number of waiting units, and the number that the newest unit got. In a blocked lane of an endpoint the first unit waits for units in no lane.
create table if not exists hookgate.lane (target int not null, lane bytea not null, waiting int not null, seq bigint not null,
    blocked boolean not null default false, primary key (target, lane)) with (fillfactor = 70);
create index if not exists lane_blocked on hookgate.lane (target, lane) where blocked;

-- Sums as differences. kind 0: deliveries of an origin, by day; 1: waiting, 2: dead and cancelled, 3: cancelled units of a target, or of a tenant for
-- units of endpoints.
create table if not exists hookgate.counter (kind smallint not null, number int not null, day date, rows bigint not null, bytes bigint not null);
create table if not exists hookgate.audit (number bigint primary key generated always as identity, at timestamptz not null, who text not null,
    what text not null, which text not null, reason text not null, done bigint not null);

-- Tenants and endpoints. A removed row stays, because deliveries name its number. `edition` grows by one with each change.
create sequence if not exists hookgate.tenant_number as int minvalue 536870912 maxvalue 1073741823;
create sequence if not exists hookgate.endpoint_number as int minvalue 1073741824 maxvalue 2147483647;
create table if not exists hookgate.tenant (number int primary key, uid text collate "C" not null unique, created timestamptz not null,
    edition int not null, removed_at timestamptz, settings text not null);
create table if not exists hookgate.endpoint (number int primary key, id text collate "C" not null unique, tenant int not null, uid text collate "C",
    edition int not null, state smallint not null, since timestamptz not null, url text not null, settings text not null, sealed bytea, job text,
    cursor bytea);
create unique index if not exists endpoint_uid on hookgate.endpoint (tenant, uid) where uid is not null;
create index if not exists endpoint_tenant on hookgate.endpoint (tenant, number) where state <> 6;
create index if not exists endpoint_inactive on hookgate.endpoint (number) where state <> 0 and state <> 6;
create index if not exists endpoint_running on hookgate.endpoint (number) where cursor is not null;
create table if not exists hookgate.secret (endpoint int not null, n int not null, name text not null, created timestamptz not null, ends timestamptz,
    sealed bytea not null, primary key (endpoint, n));
-- A row for each endpoint whose last attempts failed; `hours` is the number of different hours in which one did.
create table if not exists hookgate.health (endpoint int primary key, since timestamptz not null, failures int not null, hours int not null,
    last timestamptz not null, status int, cause text, first uuid not null, notified smallint not null) with (fillfactor = 70);

-- Matches of secrets of routes. `key` is a keyed fingerprint of a route, and of the name and value of a secret; `since` is the time since which gateways have
-- watched it without a long gap, `seen` that of the last call about it.
create table if not exists hookgate.secret_match (key bytea primary key, since timestamptz not null, last timestamptz, count bigint not null,
    seen timestamptz not null) with (fillfactor = 70);

-- Tasks that one gateway of all does next, and the position at which each goes on.
create table if not exists hookgate.maintenance (task text primary key, due_at timestamptz not null, position bigint not null default 0);
insert into hookgate.maintenance (task, due_at)
    select task, now() from unnest(array['days', 'rows', 'tenants', 'ledger', 'own_ids', 'counters', 'lanes', 'buckets']) task on conflict do nothing;
-- The gateways that share the store, and the numbers of names that their configs have.
create table if not exists hookgate.gateway (id uuid primary key, seen timestamptz not null, version text not null, hash text not null,
    generation bigint not null, host text not null, serves int[] not null) with (fillfactor = 50);
-- Spent tokens of limits that gateways share. A crash of the server may forget them.
create unlogged table if not exists hookgate.bucket (key bytea primary key, tat timestamptz not null, granted int not null) with (fillfactor = 70);

-- Bodies of webhooks are text that compresses; lz4 does it at a fifth of the cost, where the server has it.
do $$ begin
    execute 'alter table hookgate.delivery alter column body set compression lz4';
    execute 'alter table hookgate.version alter column body set compression lz4';
    execute 'alter table hookgate.attempt alter column body set compression lz4';
exception when feature_not_supported then null; end $$;
