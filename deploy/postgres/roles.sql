-- The roles and the database of the portal, made once by a superuser. The passwords are variables of psql:
--   psql -v ON_ERROR_STOP=1 -v owner=… -v app=… -v backup=… -v replication=… -f deploy/postgres/roles.sql
CREATE ROLE portal_owner LOGIN PASSWORD :'owner';                                -- owns the tables: `flask upgrade` alone
CREATE ROLE portal_app LOGIN PASSWORD :'app' NOSUPERUSER NOBYPASSRLS;            -- reads and writes rows
CREATE ROLE portal_backup LOGIN PASSWORD :'backup' BYPASSRLS;                    -- reads everything: `flask backup` alone
GRANT pg_read_all_data TO portal_backup;
CREATE ROLE portal_replication LOGIN REPLICATION PASSWORD :'replication';        -- a replica's connection to the primary
CREATE DATABASE portal OWNER portal_owner;
REVOKE ALL ON DATABASE portal FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE portal TO portal_app, portal_backup;
