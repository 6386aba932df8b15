package im

// AllowRemoval is allowRemoval, for its table.
var AllowRemoval = allowRemoval
