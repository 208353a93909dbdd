-- The database that the corpus of statements is judged in: small tables, one that the statistics call huge, and
-- hostile things that a statement may reach for. Run by a superuser in an empty database that has the extension; the
-- roles app_owner and reporting exist. The corpus is judged for a role whose search_path is "app, public".
create schema app authorization app_owner;
create schema evil authorization app_owner;
set role app_owner;
set search_path = app;

create type order_status as enum ('open', 'paid', 'shipped', 'cancelled');
create domain email_address as text check (value like '%@%');
create type address as (street text, city text);
create sequence ticket_number;

create table customers (
  id bigint generated always as identity primary key,
  email text not null constraint customers_email_key unique,
  name varchar(100),
  created_at timestamptz not null default now(),
  balance numeric(12, 2) not null default 0,
  attributes jsonb,
  active boolean not null default true,
  parent_id bigint
);
create table orders (
  id bigint primary key,
  customer_id bigint not null constraint orders_customer_id_fkey references customers,
  status order_status not null default 'open',
  total numeric(10, 2) constraint orders_total_check check (total >= 0),
  placed_at timestamp,
  note text,
  quantity integer,
  code char(8),
  tags text[],
  search tsvector,
  shipped_on date
);
create index orders_customer_id_idx on orders (customer_id);
create index orders_placed_at_idx on orders (placed_at);
create table order_items (
  order_id bigint not null constraint order_items_order_id_fkey references orders,
  line integer not null,
  product text,
  price numeric(10, 2),
  primary key (order_id, line)
);
alter table order_items add constraint order_items_price_check check (price >= 0) not valid;
create table staging (id integer, payload text, loaded_at timestamp);
create unique index staging_id_uidx on staging (id);
create table empty_table (id integer primary key, label text);
create unlogged table scratch (id integer, label text);
create table secrets (id integer primary key, tenant text not null, secret text);
alter table secrets enable row level security;
create policy own_rows on secrets using (tenant = current_user);
-- Half a billion rows, as far as the statistics know (see the end).
create table events (
  id bigint primary key,
  at timestamptz not null,
  kind text,
  payload jsonb,
  user_id integer,
  amount integer
);
create index events_at_idx on events (at);
create table metrics (at timestamptz not null, name text not null, value double precision) partition by range (at);
create table metrics_2025 partition of metrics for values from ('2025-01-01') to ('2026-01-01');
create table metrics_2026 partition of metrics for values from ('2026-01-01') to ('2027-01-01');
create table metrics_rest partition of metrics default;
create table metrics_2027 (at timestamptz not null, name text not null, value double precision);

create view open_orders as select id, customer_id, total from orders where status = 'open';
create materialized view daily_totals as select placed_at::date as day, sum(total) as total from orders group by 1;
create unique index daily_totals_day_idx on daily_totals (day);
create statistics orders_stats (dependencies) on customer_id, status from orders;

create function normalise(value text) returns text language sql immutable return lower(btrim(value));
create function touch() returns trigger language plpgsql as $$ begin new.created_at := now(); return new; end $$;
create trigger customers_touch before update on customers for each row execute function touch();

insert into customers (email, name, attributes)
select 'c' || i || '@example.com', 'Customer ' || i, '{}' from generate_series(1, 2000) as i;
insert into orders (id, customer_id, status, total, placed_at, note, quantity, code)
select i, 1 + i % 2000, (array['open', 'paid', 'shipped'])[1 + i % 3]::order_status, i % 500,
       timestamp '2025-01-01' + i * interval '1 minute', repeat('n', 40), i % 9, 'X' || i % 1000
  from generate_series(1, 20000) as i;
insert into order_items select i, 1, 'product ' || i % 50, i % 100 from generate_series(1, 20000) as i;
insert into staging select i, 'payload', now() from generate_series(1, 500) as i;
insert into events select i, now(), 'click', '{}', i, i from generate_series(1, 1000) as i;
insert into metrics select timestamptz '2025-06-01' + i * interval '1 hour', 'cpu', i from generate_series(1, 500) as i;

-- What hostile statements reach for: code that would run now or later, in every disguise.
set search_path = evil;
-- Counts every call, also one that the server believes to write nothing.
create sequence ran;
create table loot (who text, id integer);
create function steal(value integer) returns integer language plpgsql immutable as
  $$ begin perform pg_catalog.nextval('evil.ran'); return value; end $$;
create function steal(value text) returns text language plpgsql immutable as
  $$ begin perform pg_catalog.nextval('evil.ran'); return value; end $$;
create function lower(value varchar) returns text language plpgsql immutable as
  $$ begin perform pg_catalog.nextval('evil.ran'); return value; end $$;
create function compare(integer, integer) returns integer language plpgsql immutable as
  $$ begin perform pg_catalog.nextval('evil.ran'); return pg_catalog.btint4cmp($1, $2); end $$;
create function less(integer, integer) returns boolean language plpgsql immutable as
  $$ begin perform pg_catalog.nextval('evil.ran'); return $1 operator(pg_catalog.<) $2; end $$;
create operator <<< (leftarg = integer, rightarg = integer, function = evil.less);
create domain trapped as integer check (evil.steal(value) > 0);
create function on_insert() returns trigger language plpgsql as
  $$ begin perform pg_catalog.nextval('evil.ran'); return new; end $$;
create function inlined(value text) returns text language sql immutable as 'select evil.steal($1)';
create view trap as select evil.steal(v.id) as id from (values (1)) as v (id);
create type pair as (a integer, b integer);
create aggregate gather(integer) (sfunc = evil.compare, stype = integer);
reset search_path;
reset role;
-- Only a superuser can make these two.
create operator class evil.integer_ops for type integer using btree as
  operator 1 evil.<<<, function 1 evil.compare(integer, integer);
create cast (evil.pair as integer) with inout;
alter operator class evil.integer_ops using btree owner to app_owner;

grant usage on schema app to reporting;
grant select on app.orders to reporting;
vacuum analyze;
update pg_catalog.pg_class set reltuples = 5e8, relpages = 6000000 where oid = 'app.events'::regclass;
update pg_catalog.pg_class set reltuples = 5e8, relpages = 1400000
where oid in (select indexrelid from pg_catalog.pg_index where indrelid = 'app.events'::regclass);
