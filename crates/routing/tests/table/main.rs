//! Tests of the route table by its public door: clause by clause, then against an oracle that asks every route.

mod conditions;
mod explain;
mod listeners;
mod oracle;
mod priorities;
mod random;
mod recompile;
mod specificity;
mod support;
