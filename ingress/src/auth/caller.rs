//! The caller of a request, and the users whose data it may access.

use regimen_common::telemetry::{UserHash, sentry};
use uuid::Uuid;

use super::AuthError;
use crate::error::ApiError;

/// The role of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A signed-in user: own data only.
    User,
    /// A signed-in user who may look at the console: own data otherwise.
    Viewer,
    /// A signed-in operator: own data, and the admin routes.
    Admin,
    /// A trusted backend: acts for the user it names, and the admin routes.
    Service,
}

/// The sender of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The signed-in user, or the one that a trusted backend named outside the body.
    pub user_id: Option<Uuid>,
    /// The e-mail claim of the token; for the profile row of a first request.
    pub email: Option<String>,
    /// The caller's role.
    pub role: Role,
}

impl Caller {
    /// The user this request is about; `named` is the `user_id` of the body or path.
    ///
    /// # Errors
    /// 403 when a user names another user; 400 when a backend names two users; 422 at
    /// `/user_id` when it names none.
    pub fn acting_for(&self, named: Option<Uuid>) -> Result<Uuid, ApiError> {
        self.user_of(named).inspect(|user| {
            sentry::name_user(*user);
            tracing::Span::current().record("user", tracing::field::display(UserHash::of(*user)));
        })
    }

    fn user_of(&self, named: Option<Uuid>) -> Result<Uuid, ApiError> {
        match self.role {
            Role::User | Role::Viewer | Role::Admin => {
                self.refuse_other(named)?;
                self.user_id.ok_or_else(|| AuthError::NotAUser.into())
            }
            Role::Service => match (named, self.user_id) {
                (Some(a), Some(b)) if a != b => Err(AuthError::TwoUsers.into()),
                (Some(user), _) | (None, Some(user)) => Ok(user),
                (None, None) => Err(ApiError::field(
                    "/user_id",
                    "name the user this request is for, here or in X-User-Id",
                )),
            },
        }
    }

    /// Whether this caller may use the admin routes.
    pub fn is_admin(&self) -> bool {
        match self.role {
            Role::Admin | Role::Service => true,
            Role::User | Role::Viewer => false,
        }
    }

    /// A trusted backend that names the user.
    pub(super) fn trusted(named: Option<Uuid>) -> Self {
        Self { user_id: named, email: None, role: Role::Service }
    }

    /// Adds a user named in one more place.
    pub(super) fn named_also(self, named: Option<Uuid>) -> Result<Self, ApiError> {
        match (self.role, named) {
            (_, None) => Ok(self),
            (Role::User | Role::Viewer | Role::Admin, Some(_)) => {
                self.refuse_other(named)?;
                Ok(self)
            }
            (Role::Service, Some(_)) => {
                let user = self.acting_for(named)?;
                Ok(Self { user_id: Some(user), ..self })
            }
        }
    }

    pub(super) fn refuse_other(&self, named: Option<Uuid>) -> Result<(), AuthError> {
        match (self.user_id, named) {
            (Some(own), Some(other)) if own != other => Err(AuthError::SomebodyElse),
            _ => Ok(()),
        }
    }
}

/// A caller who may use the admin routes; extracting it refuses all others with 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin(pub Caller);

impl TryFrom<Caller> for Admin {
    type Error = ApiError;

    fn try_from(caller: Caller) -> Result<Self, ApiError> {
        if caller.is_admin() { Ok(Self(caller)) } else { Err(AuthError::NotAdmin.into()) }
    }
}
