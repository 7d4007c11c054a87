-- What the live channels ask again and again, in one round trip each: as a transaction it would take four, and most of
-- the time would go into saying whose rows are wanted. Both run with the rights of who calls (millrace_client) and set the
-- account that the row policies ask for until the statement ends; the query after it is one snapshot.

-- A job and what of it a reader has not heard: rows of three kinds.
--   job     number: attempt, count: position (null: does not wait), word: status
--   event   number: sequence, word: type, body
--   deltas  number: the first delta's offset, count: how many, body: a JSON array of them
create function look_at_job(of_account text, of_job text, after bigint, heard_attempt integer, heard integer, most_steps integer)
  returns table (part text, number bigint, count integer, word text, body text) language plpgsql volatile as $$
begin
  perform set_config('millrace.account_id', of_account, true);
  return query
    with job as materialized (
      select j.account_id, j.id, j.kind, j.status, j.epoch, j.slot, j.priority, j.place, j.started_at,
        case when j.epoch = heard_attempt then heard else 0 end as heard
      from jobs j where j.account_id = of_account and j.id = of_job)
    select 'job', j.epoch::bigint, case
        when j.status <> 'queued' then null
        when j.slot is not null then 0
        -- As positionInLine (src/store/line.ts): exact to 1,000.
        else (select count(*)::integer from (select from jobs o where o.account_id = j.account_id and o.place is not null
          and (o.priority, o.place) < (j.priority, j.place) limit 1000) ahead) end,
      j.status, null from job j
    union all
    select 'event', e.sequence, null, e.type, e.body from events e
      where e.account_id = of_account and e.job_id = of_job and e.sequence > after
    union all
    select 'deltas', d.first::bigint, d.count, null, d.deltas
      from job j cross join lateral (
        -- From the step that holds the first delta not heard; what is before it is not even looked at.
        select s.first, s.count, s.deltas from deltas s
        where s.account_id = j.account_id and s.job_id = j.id and s.attempt = j.epoch and s.created_at = j.started_at
          and s.first >= coalesce((select max(p.first) from deltas p where p.account_id = j.account_id and p.job_id = j.id
            and p.attempt = j.epoch and p.created_at = j.started_at and p.first <= j.heard), 0)
          and s.first + s.count > j.heard
        order by s.first limit most_steps) d
      where j.kind = 'chat' and j.epoch > 0;
end $$;

-- An account's events after a number: at most `most` of them, and no more once they have `most_bytes`.
create function look_at_events(of_account text, after bigint, most integer, most_bytes integer)
  returns table (sequence bigint, type text, body text) language plpgsql volatile as $$
begin
  perform set_config('millrace.account_id', of_account, true);
  return query
    select p.sequence, p.type, p.body from (
      select e.sequence, e.type, e.body, sum(octet_length(e.body)) over (order by e.sequence) - octet_length(e.body) as before
      from (select * from events e where e.account_id = of_account and e.sequence > after order by e.sequence limit most) e) p
    where p.before < most_bytes order by p.sequence;
end $$;

revoke execute on function look_at_job, look_at_events from public;
grant execute on function look_at_job, look_at_events to millrace_client;
