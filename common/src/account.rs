//! Who owns what: users, their plan tier and role.
