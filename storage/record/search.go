package record

import (
	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/search"
)

// Hit returns a message as the hit of a search, or false if it does not contain the terms. An index
// may return such messages, so an engine must check each.
func Hit(terms search.Terms, m im.Message) (im.SearchHit, bool) {
	parts := terms.Snippet(m.Words())
	if parts == nil {
		return im.SearchHit{}, false
	}
	snippet := make([]im.SnippetPart, len(parts))
	for i, p := range parts {
		snippet[i] = im.SnippetPart(p)
	}
	return im.SearchHit{Message: m, Snippet: snippet}, true
}
