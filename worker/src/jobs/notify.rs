//! Tells a user of a billing event: a notification row and an e-mail.
