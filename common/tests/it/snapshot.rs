//! Everything a migration could lose or change: rows, columns, constraints,
//! policies, triggers, functions and rights, as text to compare.

use std::collections::BTreeMap;

use regimen_common::db::Client;

/// Catalogue entries of the app's schemas. Each row: what it is, and its text.
const CATALOGUE: &str = r"-- snapshot_catalogue
with app as (
    select c.oid, format('%s.%s', n.nspname, c.relname) as name,
        relrowsecurity, relforcerowsecurity, relacl
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'auth') and c.relkind in ('r', 'v', 'S')
)
select 'table ' || name,
    format('rls %s, forced %s, rights %s', relrowsecurity, relforcerowsecurity, relacl::text)
from app
union all
select format('column %s.%s', name, attname),
    format('%s, not null %s, default %s', format_type(atttypid, atttypmod), attnotnull,
        (select pg_get_expr(adbin, adrelid) from pg_attrdef
         where adrelid = attrelid and adnum = attnum))
from app join pg_attribute on attrelid = app.oid and attnum > 0 and not attisdropped
union all
select format('constraint %s.%s', name, conname), pg_get_constraintdef(o.oid)
from app join pg_constraint o on conrelid = app.oid
union all
select format('trigger %s.%s', name, tgname), pg_get_triggerdef(t.oid) || tgenabled::text
from app join pg_trigger t on tgrelid = app.oid and not tgisinternal
union all
select format('policy %s.%s', name, polname),
    format('%s %s %s %s %s', polcmd, polpermissive, polroles::text,
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
from app join pg_policy on polrelid = app.oid
union all
select 'index ' || indexname, indexdef from pg_indexes where schemaname in ('public', 'auth')
union all
select 'function ' || p.oid::regprocedure::text, pg_get_functiondef(p.oid)
from pg_proc p join pg_namespace n on n.oid = pronamespace
where nspname in ('public', 'auth')
union all
select 'schema ' || nspname, nspacl::text from pg_namespace where nspname in ('public', 'auth')";

/// What the app's schemas hold now.
pub(crate) async fn take(client: &Client) -> BTreeMap<String, Option<String>> {
    let mut all: BTreeMap<String, Option<String>> = client
        .query(CATALOGUE, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let tables: Vec<String> =
        all.keys().filter_map(|key| key.strip_prefix("table ")).map(str::to_owned).collect();
    for table in tables {
        all.insert(format!("rows {table}"), Some(rows(client, &table).await));
    }
    all
}

/// Checksum of a table's rows, every column included.
async fn rows(client: &Client, table: &str) -> String {
    let sql = format!(
        "-- checksum\nselect format('%s rows, %s', count(*), \
         md5(coalesce(string_agg(t::text, e'\\n' order by t::text), ''))) from {table} t"
    );
    client.query_one(&sql, &[]).await.unwrap().get(0)
}

/// Fails when something of `before` is gone or different in `after`.
pub(crate) fn assert_kept(
    before: &BTreeMap<String, Option<String>>,
    after: &BTreeMap<String, Option<String>>,
    but_for: &[&str],
) {
    for (key, value) in before {
        if but_for.contains(&key.as_str()) {
            continue;
        }
        match after.get(key) {
            None => panic!("{key} is gone"),
            Some(now) => assert_eq!(now, value, "{key} has changed"),
        }
    }
}
