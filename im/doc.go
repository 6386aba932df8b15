// Package im is the domain of imapi: what conversations, members, messages,
// blocks and events are, and the rules that say who may do what to them.
//
// It imports the standard library and package seqs alone. Rules are pure functions of (state,
// actor, policy, now); use cases are methods of [Service] that load state
// through the [Store] and [Tx] interfaces, ask the rules, change state and
// append events, all in one transaction. How the state is kept is the concern
// of package storage, how it is asked for that of package handlers.
package im
