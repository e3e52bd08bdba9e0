//! Operators listed in a table of the app instead of in a claim of their
//! tokens.

use std::str::FromStr;

use regimen_common::db::Pool;
use uuid::Uuid;

use super::{Caller, Role};
use crate::error::ApiError;

/// `schema.table`, of plain names, because it becomes part of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableName(String);

impl FromStr for TableName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |name: &str| {
            name.len() <= 63
                && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        };
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() == 2 && parts.iter().all(|part| plain(part)) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be schema.table in lower case, such as public.admin_users")
        }
    }
}

/// The table of operators, if configured.
#[derive(Debug)]
pub struct AdminTable {
    db: Pool,
    statement: Option<String>,
}

impl AdminTable {
    /// Reads `table`, whose column `id` holds the users' ids.
    pub fn new(db: Pool, table: Option<&TableName>) -> Self {
        let statement = table.map(|TableName(table)| {
            format!("-- is admin\n select exists (select from {table} where id = $1)")
        });
        Self { db, statement }
    }

    /// The caller, as an operator if the table has them. Read each time, so that removing
    /// a row takes effect at once.
    ///
    /// # Errors
    /// Postgres is away, or has no such table.
    pub async fn look_up(&self, caller: Caller) -> Result<Caller, ApiError> {
        let (Some(statement), Role::User | Role::Viewer, Some(user)) =
            (&self.statement, caller.role, caller.user_id)
        else {
            return Ok(caller);
        };
        let is_admin = self.is_admin(statement, user).await?;
        Ok(Caller { role: if is_admin { Role::Admin } else { caller.role }, ..caller })
    }

    async fn is_admin(&self, statement: &str, user: Uuid) -> Result<bool, ApiError> {
        let client = self.db.get().await?;
        let statement = client.prepare_cached(statement).await?;
        Ok(client.query_one(&statement, &[&user]).await?.get(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_of_a_schema_and_a_table_are_taken() {
        assert!("public.admin_users".parse::<TableName>().is_ok());
        for wrong in [
            "admin_users",
            "public.Admin",
            "public.admin users",
            "a.b.c",
            "public.",
            "public.x; drop table y",
            "\"public\".x",
            "",
        ] {
            assert!(wrong.parse::<TableName>().is_err(), "{wrong}");
        }
    }
}
