mod create;
mod refusals;
mod tolerance;
