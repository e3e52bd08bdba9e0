//! Who is calling: Supabase tokens, service keys, or nobody in development.
