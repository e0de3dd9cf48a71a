-- The numbers of names of configs. Which number belongs to which name is decided by the program: it reads all rows, and saves what it changed, unless another
-- gateway saved meanwhile.

-- Returns all numbers, in their order, with the edition of the list in each row. If there are none, one row has no number.
create or replace function hookgate.names_1() returns table (edition bigint, number int, kind smallint, name text, owners text) language sql stable as $$
    select m.value::bigint, n.number, n.kind, n.name, n.owners from hookgate.meta m left join hookgate.name n on true
    where m.name = 'names_edition' order by n.number
$$;

-- Saves rows that were changed or added, if the list still has the edition that the caller read. The numbers of `served` are not parked from now on, all others are.
-- Returns false, and does nothing, if another saved meanwhile.
create or replace function hookgate.names_save_1(of_edition bigint, numbers int[], kinds smallint[], names text[], all_owners text[],
    served int[]) returns boolean
language plpgsql volatile set lock_timeout = '1s' as $$
declare t timestamptz := hookgate.store_time(); is_same boolean; n int;
begin
    perform hookgate.wait_for_disk();
    select value = of_edition::text into is_same from hookgate.meta where name = 'names_edition' for update;
    if not is_same then return false; end if;
    insert into hookgate.name as x (number, kind, name, owners) select a.number, a.kind, a.name, a.owners from unnest(numbers, kinds, names,
        all_owners) a(number, kind, name, owners)
        on conflict (number) do update set name = excluded.name, owners = excluded.owners;
    get diagnostics n = row_count;
    update hookgate.name x set parked_at = t where x.parked_at is null and not x.number = any(served);
    perform hookgate.unpark(served);
    if n > 0 then update hookgate.meta set value = (of_edition + 1)::text where name = 'names_edition'; end if;
    return true;
end $$;

-- Ends the parking of these numbers, and adds its length to the time for which they were parked before.
create or replace function hookgate.unpark(served int[]) returns void language sql volatile as $$
    update hookgate.name set parked = parked + (extract(epoch from hookgate.store_time() - parked_at) * 1000)::bigint, parked_at = null
        where parked_at is not null and number = any(served)
$$;
