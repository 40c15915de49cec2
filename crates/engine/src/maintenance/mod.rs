//! Upkeep: sealing, merging, log pruning. Front page of the module.
