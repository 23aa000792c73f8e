//! Supervision and stopping: tasks, token tree, stop plan, control thread, watchdog, resource ledger, exit status.
