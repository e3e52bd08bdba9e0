//! The caller's address, right behind trusted proxies and not to be spoofed.
