-- The database of an application: an ordinary role owns the tables, another one is what the application logs in as.
create role app_owner login;
create role app login;
create database app;
\connect app
grant create on schema public to app_owner;
