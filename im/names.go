package im

// names maps the values of an enumeration to their names in the API.
type names[T comparable] map[T]string

func (n names[T]) parse(s string) (T, bool) {
	for v, name := range n {
		if name == s {
			return v, true
		}
	}
	var zero T
	return zero, false
}
