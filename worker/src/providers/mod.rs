//! The AI providers behind one trait, and the ladder over them.
