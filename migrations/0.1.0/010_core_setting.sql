create table architect.setting (
  name text primary key,
  value text not null,
  changed_by name not null default session_user,
  changed_at timestamptz not null default now()
);
comment on table architect.setting is 'Settings that an admin changed; defaults live in architect._default_settings().';
comment on column architect.setting.name is 'One of architect.settings.';
comment on column architect.setting.value is 'The value, as text in the setting''s own unit.';
comment on column architect.setting.changed_by is 'Session user who set it.';
comment on column architect.setting.changed_at is 'When it was set.';
select pg_catalog.pg_extension_config_dump('architect.setting', '');
