//! Search against a scalar oracle, masks, spaces, layout and damage.
