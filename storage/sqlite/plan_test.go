package sqlite

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imapi/imapi/im"
	"github.com/imapi/imapi/storage/storagetest"
)

// recorder records the text of every statement.
type recorder struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (r *recorder) hook(_ *session, query string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[query] = true
	return nil
}

// mayScan are the steps of query plans that may scan a whole table or index: small or bounded ones,
// and those requested as a whole.
var mayScan = []string{
	"SCAN j VIRTUAL TABLE", // the given list
	"SCAN users USING COVERING INDEX users_cut",
	"SCAN users USING INDEX users_cut", // only users with a cut-off
	"SCAN (subquery-", "SCAN CONSTANT ROW",
	"SCAN setting", // one step per retention setting
	"SCAN c USING INDEX conversations_trimming", // the first trims in progress
	"SCAN counted", // to report progress
	"SCAN doomed",  // rows that a crash has left behind
	"SCAN reader",  // one seek per user with receipts
	"SCAN half",    // the steps of a binary search
	"SCAN gap",     // the gaps, in bounded parts
	"SCAN p",       // the rows of a page
	"SCAN d",       // all members, for an export
	"SCAN w",       // all webhooks, of which there are few
	"SCAN x",       // the events of a window
}

// maySort are the statements that sort rows from several sources: the user's conversations,
// and members by name.
var maySort = []string{
	selectReturnedTo,
	selectConversations, selectChangedConversations, selectMembersAtSeq, selectEveryMember,
}

// TestPlans runs the suite and checks the plan of each statement: it must seek in an index,
// and history must need no sorting.
func TestPlans(t *testing.T) {
	r := &recorder{seen: map[string]bool{}}
	t.Run("suite", func(t *testing.T) {
		storagetest.Run(t, func(t *testing.T) im.Store {
			// Keep few events unindexed, so that both ways of finding events are used.
			return openNew(t, Options{Synchronous: "normal", fault: r.hook, unindexed: 4})
		})
	})
	s, err := openSession(openNew(t, Options{}).path, Options{Synchronous: "normal"}, reading)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	if len(r.seen) < 60 {
		t.Errorf("recorded only %d statements", len(r.seen))
	}
	for _, query := range []string{selectScanned, selectMerged, selectScannedInSpaces, selectMergedInSpaces} {
		if !r.seen[query] {
			t.Errorf("the suite does not run %s", query)
		}
	}
	byTime := "SEARCH m USING INDEX messages_by_time (conversation_id=? AND (created_at,seq)>(?,?) AND (created_at,seq)<(?,?))"
	for query := range r.seen {
		if strings.Contains(strings.ToUpper(query), "OFFSET") {
			t.Errorf("pages are found by key, not by OFFSET: %s", query)
		}
		plan := explain(t, s, query)
		if strings.Contains(query, "created_at, m.seq)") &&
			plan[0] != byTime && plan[0] != strings.Replace(byTime, "INDEX", "COVERING INDEX", 1) {
			t.Errorf("%s\nseeks only one end: %s", query, plan[0])
		}
		for _, step := range plan {
			bad := strings.HasPrefix(step, "SCAN") && !hasAnyPrefix(step, mayScan) ||
				strings.Contains(step, "TEMP B-TREE") && !slices.Contains(maySort, query)
			if bad {
				t.Errorf("%s\nin the plan of %s\n%s", step, query, strings.Join(plan, "\n"))
			}
		}
	}
}

// TestHotPlans checks steps of the plans of frequent statements.
func TestHotPlans(t *testing.T) {
	plans := map[string][]string{
		selectScanned: {
			"SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=? AND from_event<?)",
			"SEARCH m USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
			"SEARCH seq_ranges USING COVERING INDEX seq_ranges_hidden (user_id=?)",
			"SEARCH h USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
		},
		selectScannedInSpaces: {
			"SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=? AND from_event<?)",
			"SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
		},
		selectMerged: {
			"SEARCH i USING COVERING INDEX intervals_of_user (user_id=? AND to_event>?)",
			"SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH e USING COVERING INDEX events_of_conversation (conversation_id=? AND rowid>? AND rowid<?)",
			"SEARCH e USING COVERING INDEX events_of_user (to_user=? AND rowid>? AND rowid<?)",
			"SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH m USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN",
		},
		selectMergedInSpaces: {
			"SEARCH i USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event>?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>>?)",
			"SEARCH i USING COVERING INDEX intervals_of_user (user_id=? AND to_event>?)",
			"SEARCH e USING COVERING INDEX events_of_conversation (conversation_id=? AND rowid>? AND rowid<?)",
		},
		countSources: {"SEARCH i USING COVERING INDEX intervals_of_user (user_id=? AND to_event>?)"},
		countSourcesInSpaces: {
			"SEARCH i USING COVERING INDEX intervals_of_user (user_id=? AND to_event>?)",
			"SEARCH i USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event>?)",
			"SEARCH c USING COVERING INDEX channels_of_space (space_id=?)",
		},
		selectInSpaces: {"SEARCH intervals USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event>?)"},
		selectMembersAt: {
			"SEARCH w USING COVERING INDEX intervals_of_conversation (conversation_id=? AND to_event>?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=?)",
			"SEARCH m USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
		},
		selectMembersAtByUser: {
			"SEARCH u USING COVERING INDEX sqlite_autoindex_users_1 (name=?)",
			"SEARCH w USING PRIMARY KEY (conversation_id=? AND user_id=? AND from_event<?)",
			"SEARCH n USING PRIMARY KEY (conversation_id=? AND user_id=?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=? AND from_event>?)",
		},
		selectMembersAtSeq: {
			"SEARCH i USING COVERING INDEX intervals_by_seq (conversation_id=? AND <expr>>?)",
		},
		endInterval: {"SEARCH intervals USING INDEX intervals_of_user (user_id=? AND to_event=? AND conversation_id=?)"},
		selectMemberships: {
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=? AND from_event>?)",
			"SEARCH o USING PRIMARY KEY (conversation_id=? AND user_id=?)",
			"SEARCH k USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
		},
		selectEntry: {
			"SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH b USING PRIMARY KEY (by_id=? AND name=?)",
			"SEARCH e USING COVERING INDEX messages_by_client_id (sender_id=? AND client_id=?)",
			"SEARCH g USING COVERING INDEX remembered_by_client_id (sender_id=? AND client_id=?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
		},
		selectDirectEntry: {
			"SEARCH c USING INDEX conversations_direct (peer_low=? AND peer_high=?)",
			"SEARCH i USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
		},
		selectMembers: {"SEARCH m USING PRIMARY KEY (conversation_id=? AND user_id>?)"},
		selectConversations: {
			"SEARCH o USING COVERING INDEX members_of_user (user_id=? AND conversation_id>? AND conversation_id<?)",
			"SEARCH k USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
			"SEARCH m USING INDEX messages_by_time (conversation_id=?)",
		},
		selectChangedConversations: {
			"SEARCH o USING COVERING INDEX members_of_user (user_id=? AND conversation_id>? AND conversation_id<?)",
			"SEARCH k USING PRIMARY KEY (conversation_id=? AND user_id=?) LEFT-JOIN",
		},
		nthConversation:       {"SEARCH members USING COVERING INDEX members_of_user (user_id=? AND conversation_id>?)"},
		selectConversationsOf: {"SEARCH members USING COVERING INDEX members_of_user (user_id=? AND conversation_id<?)"},
		selectChildren: {
			"SEARCH t USING INDEX threads_of_parent (parent_id=?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=?)",
		},
		selectSearched: {
			"SEARCH members USING COVERING INDEX members_of_user (user_id=?)",
			"SEARCH i USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event=?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=?)",
			"SEARCH t USING INDEX threads_of_parent (parent_id=?)",
		},
		selectThreadIDs:     {"SEARCH conversations USING INDEX threads_of_parent (parent_id=? AND rowid>?)"},
		putChildRetention:   {"SEARCH conversations USING INTEGER PRIMARY KEY (rowid=?)"},
		selectThreads:       {"SEARCH c USING INDEX threads_of_parent (parent_id=? AND rowid<?)"},
		selectThreadOf:      {"SEARCH c USING INDEX thread_of_root (root_id=?)"},
		selectJoinedThreads: {"SEARCH o USING COVERING INDEX threads_of_user (user_id=? AND conversation_id<?)"},
		selectJoinedChildren: {
			"SEARCH o USING COVERING INDEX threads_of_user_below (user_id=? AND parent_id=?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=?)",
			"SEARCH o USING COVERING INDEX threads_of_user_below (user_id=? AND parent_id=?)",
		},
		selectChannels: {"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=? AND rowid>?)"},
		selectSpaces:   {"SEARCH i USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event=? AND conversation_id>?)"},
		selectLastSent: {"SEARCH messages USING COVERING INDEX messages_by_seq (conversation_id=?)"},
		selectRoles: {
			"SEARCH space_roles USING PRIMARY KEY (space_id=? AND from_event<?)",
			"CORRELATED SCALAR SUBQUERY 1", "SEARCH u USING INTEGER PRIMARY KEY (rowid=?)",
		},
		selectAccess:        {"SEARCH channel_access USING PRIMARY KEY (conversation_id=? AND from_event<?)"},
		selectRoleStays:     {"SEARCH s USING PRIMARY KEY (space_id=? AND user_id=?)"},
		selectListStays:     {"SEARCH s USING PRIMARY KEY (conversation_id=? AND name=?)"},
		selectListStaysIn:   {"SEARCH s USING PRIMARY KEY (conversation_id=? AND name=?)"},
		selectMutesIn:       {"SEARCH n USING PRIMARY KEY (conversation_id=? AND user_id=?)"},
		selectChannelAccess: {"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=?)", "SEARCH a USING PRIMARY KEY (conversation_id=?)"},
		selectMutesOf:       {"SEARCH n USING PRIMARY KEY (conversation_id=? AND user_id=?)"},
		selectListed:        {"SEARCH list_stays USING INDEX list_stays_open (conversation_id=? AND list=? AND name>?)"},
		selectOnList:        {"SEARCH list_stays USING COVERING INDEX list_stays_open (conversation_id=? AND list=? AND name=?)"},
		selectInvitationOf:  {"SEARCH v USING INDEX invitations_of_user (name=? AND conversation_id>?)", "SEARCH c USING INTEGER PRIMARY KEY (rowid=?)"},
		trimRoles:           {"SEARCH space_roles USING COVERING INDEX space_roles_closed (to_event<?)"},
		trimAccess:          {"SEARCH channel_access USING COVERING INDEX channel_access_closed (to_event<?)"},
		selectOpenRoleStays: {"SEARCH s USING COVERING INDEX role_stays_open (space_id=? AND user_id=?)"},
		selectOpenListStays: {"SEARCH s USING COVERING INDEX list_stays_open (conversation_id=? AND list=? AND name=?)"},
		trimStaysInRole:     {"SEARCH role_stays USING PRIMARY KEY (space_id=? AND user_id=? AND role_id=? AND from_event<?)"},
		trimStaysOnList:     {"SEARCH list_stays USING PRIMARY KEY (conversation_id=? AND name=? AND list=? AND from_event<?)"},
		trimRoleStays:       {"SEARCH role_stays USING COVERING INDEX role_stays_closed (to_event<?)"},
		trimListStays:       {"SEARCH list_stays USING COVERING INDEX list_stays_closed (to_event<?)"},
		endAllowed: {
			"SEARCH list_stays USING INDEX list_stays_open (conversation_id=? AND list=? AND name=?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>=?)",
		},
		selectEveryMember:       {"SEARCH intervals USING PRIMARY KEY (conversation_id=?)"},
		selectDirect:            {"SEARCH c USING INDEX conversations_direct (peer_low=? AND peer_high=?)"},
		selectMessage:           {"SEARCH m USING INTEGER PRIMARY KEY (rowid=?)"},
		selectMessageByClientID: {"SEARCH m USING INDEX messages_by_client_id (sender_id=? AND client_id=?)"},
		selectMessageAt:         {"SEARCH m USING INDEX messages_by_time (conversation_id=? AND created_at=?)"},
		selectRemembered:        {"SEARCH g USING INTEGER PRIMARY KEY (rowid=?)"},
		selectRememberedAs: {
			"SEARCH u USING COVERING INDEX sqlite_autoindex_users_1 (name=?)",
			"SEARCH g USING COVERING INDEX remembered_by_client_id (sender_id=? AND client_id=?)",
		},
		selectRememberedAt: {
			"SEARCH u USING COVERING INDEX sqlite_autoindex_users_1 (name=?)",
			"SEARCH g USING COVERING INDEX remembered_by_time (sender_id=? AND created_at=?)",
		},
		selectRememberedDirects: {"SEARCH remembered_directs USING COVERING INDEX remembered_directs_of (peer_low=? AND peer_high=?)"},
		forgetMessages: {
			"SEARCH remembered_messages USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH remembered_messages USING COVERING INDEX remembered_longest (remembered_at<?)",
		},
		selectCreation:    {"SEARCH creations USING PRIMARY KEY (creator_id=? AND client_id=?)"},
		rememberCreations: {"SEARCH creations USING INDEX creations_of_conversation (conversation_id=?)"},
		forgetCreations: {
			"SEARCH creations USING PRIMARY KEY (creator_id=? AND client_id=?)",
			"SEARCH creations USING COVERING INDEX creations_longest (remembered_at>? AND remembered_at<?)",
		},
		forgetDirects: {
			"SEARCH remembered_directs USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH remembered_directs USING COVERING INDEX remembered_directs_longest (remembered_at>? AND remembered_at<?)",
		},
		selectStoredSince: {"SEARCH messages USING COVERING INDEX messages_by_seq (conversation_id=? AND seq>?)"},
		selectLastID:      {"SEARCH messages"},
		insertMentions: {
			"SEARCH u USING COVERING INDEX sqlite_autoindex_users_1 (name=?)",
			"SEARCH m USING PRIMARY KEY (conversation_id=? AND user_id=?)",
		},
		selectBounds: {"SEARCH events"},
		selectOldest: {"SEARCH events USING INTEGER PRIMARY KEY (rowid>?)"},

		selectActive: {"SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"},
		indexEvents:  {"SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"},
		putShredded:  {"SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"},
		deleteDoomed: {"SEARCH doomed USING PRIMARY KEY (slot=? AND code=?)"},
		eraseRow: {
			"SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH messages USING COVERING INDEX messages_by_erase_stamp (erase_stamp>?)",
		},
		selectDue:       {"SEARCH m USING INDEX messages_due (due_at<?)"},
		selectNextDue:   {"SEARCH messages USING COVERING INDEX messages_due (due_at>?)"},
		measureErasures: {"SEARCH m USING COVERING INDEX messages_by_erase_stamp (erase_stamp>?)"},
		selectErasures:  {"SEARCH m USING INDEX messages_by_erase_stamp (erase_stamp>?)"},
		selectErasuresOf: {
			"SEARCH m USING INDEX messages_by_erase_stamp (erase_stamp>? AND erase_stamp<?)",
			"SEARCH members USING PRIMARY KEY (conversation_id=? AND user_id=?)",
			"SEARCH c USING INTEGER PRIMARY KEY (rowid=?)",
		},
		selectUnstarted: {"SEARCH m USING INDEX messages_unstarted (conversation_id=? AND seq>? AND seq<?)"},
		selectBurning:   {"SEARCH m USING INDEX messages_burning (conversation_id=? AND seq>? AND seq<?)"},
		selectTracked:   {"SEARCH m USING INDEX messages_tracked (conversation_id=? AND seq>? AND seq<?)"},
		selectSettled: {
			"SEARCH s USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq>? AND from_seq<?)",
			"SEARCH b USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
			"SEARCH l USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
		},
		selectNewest: {
			"SEARCH m USING COVERING INDEX messages_by_seq (conversation_id=? AND seq>? AND seq<?)",
			"SEARCH m USING COVERING INDEX messages_by_time (conversation_id=?)",
		},
		selectMessagesFor: {
			"SEARCH m USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH h USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
		},
		selectConversationsByID: {"SEARCH c USING INTEGER PRIMARY KEY (rowid=?)"},
		countGaps: {
			"SEARCH m USING INDEX messages_by_seq (conversation_id=? AND seq<?)",
			"SEARCH m USING INDEX messages_by_seq (conversation_id=? AND seq>?)",
			"SEARCH m USING COVERING INDEX messages_by_seq (conversation_id=? AND seq>? AND seq<?)",
			"SEARCH m USING COVERING INDEX messages_erased (conversation_id=? AND seq>? AND seq<?)",
			"SEARCH m USING COVERING INDEX messages_due_in (conversation_id=? AND due_at>? AND due_at<?)",
			"SEARCH n USING COVERING INDEX mentions_of_user (user_id=? AND conversation_id=? AND seq>? AND seq<?)",
		},
		selectHidden: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
		},
		selectHiding:       {"SEARCH k USING COVERING INDEX marks_hiding (conversation_id=?)"},
		selectHiddenSince:  {"SEARCH seq_ranges USING INDEX seq_ranges_hidden (user_id=? AND at>?)"},
		selectMarksSince:   {"SEARCH marks USING INDEX marks_hidden (user_id=? AND hidden_at>?)"},
		selectGoneSince:    {"SEARCH k USING INDEX marks_changed (user_id=? AND changed_at>?)"},
		selectDeletedSince: {"SEARCH i USING COVERING INDEX intervals_of_user (user_id=? AND to_event<?)"},
		selectChannelsGoneSince: {
			"SEARCH i USING COVERING INDEX intervals_in_spaces (user_id=? AND to_event>?)",
			"SEARCH c USING INDEX channels_of_space (space_id=? AND <expr>>? AND <expr><?)",
		},
		deleteMentions: {"SEARCH mentions USING PRIMARY KEY (conversation_id=? AND seq=?)"},
		selectRanges: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq>? AND from_seq<?)",
		},
		selectRangeAfter: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq>?)",
		},
		selectOldRanges: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)",
		},
		countRanges: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq>?)",
		},
		selectRangesOf: {
			"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id>?)",
			"SEARCH r USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq=?)",
		},
		selectOthers: {"SEARCH messages USING COVERING INDEX messages_by_seq (conversation_id=? AND seq>? AND seq<?)"},

		selectBefore:        {"SEARCH m USING INDEX messages_by_time (conversation_id=? AND created_at<?)"},
		selectFirstSeq:      {"SEARCH messages USING COVERING INDEX messages_by_seq (conversation_id=?)"},
		selectUntimedBefore: {"SEARCH m USING INDEX messages_by_seq (conversation_id=? AND seq<?)"},
		selectOldestUntimed: {"SEARCH messages USING INDEX messages_by_seq (conversation_id=? AND seq<?)"},
		selectMessageMade:   {"SEARCH m USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"},
		selectOldestAt:      {"SEARCH messages USING COVERING INDEX messages_by_time (conversation_id=?)"},
		countBefore:         {"SEARCH messages USING COVERING INDEX messages_by_time (conversation_id=? AND created_at<?)"},
		deleteMessages:      {"SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"},
		deleteEvents:        {"SEARCH events USING INTEGER PRIMARY KEY (rowid=?)"},
		selectEventsFrom:    {"SEARCH events USING INDEX events_of_conversation (conversation_id=? AND rowid>?)"},
		selectAddressedFrom: {"SEARCH events USING INDEX events_addressed (conversation_id=? AND rowid>?)"},
		selectRangesPast:    {"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND (kind,user_id)>(?,?))"},
		deleteRangesUpTo:    {"SEARCH seq_ranges USING PRIMARY KEY (conversation_id=? AND kind=? AND user_id=? AND from_seq<?)"},
		deleteMentionsOf:    {"SEARCH mentions USING PRIMARY KEY (conversation_id=? AND seq=?)"},
		endIntervals:        {"SEARCH intervals USING INDEX intervals_of_conversation (conversation_id=? AND to_event=?)"},
		selectAged:          {"SEARCH c USING INDEX conversations_oldest (retention=? AND oldest_at>? AND oldest_at<?)"},
	}
	s, err := openSession(openNew(t, Options{}).path, Options{Synchronous: "normal"}, reading)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.close() }()
	for query, steps := range plans {
		plan := explain(t, s, query)
		for _, step := range steps {
			if !slices.Contains(plan, step) {
				t.Errorf("%s\nis not in the plan of %s\n%s", step, query, strings.Join(plan, "\n"))
			}
		}
	}
}

// TestSendStatements checks the number of statements in a send.
func TestSendStatements(t *testing.T) {
	var mu sync.Mutex
	var ran []string
	s := openNew(t, Options{Synchronous: "normal", fault: func(s *session, query string) error {
		if s.role == writing && query != "BEGIN IMMEDIATE" && query != "COMMIT" {
			mu.Lock()
			defer mu.Unlock()
			ran = append(ran, query)
		}
		return nil
	}})
	service := im.NewService(s, im.Policy{ClientIDRetention: time.Hour, MaxMessageBytes: 1 << 16}, nil)
	alice := im.Actor{User: "alice", Device: "phone"}
	send := func(clientID string) {
		t.Helper()
		draft := im.Draft{ClientID: clientID, Type: im.Text, Body: []byte(`{"text":"hi"}`)}
		if _, err := service.Send(t.Context(), alice, im.ConversationRef{Peer: "bob"}, draft); err != nil {
			t.Fatal(err)
		}
	}
	send("first") // creates the conversation
	mu.Lock()
	ran = nil
	mu.Unlock()
	send("second")
	mu.Lock()
	defer mu.Unlock()
	want := []string{selectDirectEntry, putSent, insertMessage, appendEvent}
	if !slices.Equal(ran, want) {
		t.Errorf("a send takes %d statements:\n%s", len(ran), strings.Join(ran, "\n"))
	}
}

// explain returns the steps of a query plan.
func explain(t *testing.T, s *session, query string) (plan []string) {
	t.Helper()
	s.reset()
	args := make([]any, strings.Count(query, "?"))
	if strings.Contains(query, "?1") { // numbered parameters may repeat
		n := 1
		for strings.Contains(query, fmt.Sprint("?", n+1)) {
			n++
		}
		args = args[:n]
	}
	err := s.query("EXPLAIN QUERY PLAN "+query, args, func(rows row) (bool, error) {
		var id, parent, unused int
		var step string
		err := rows.Scan(&id, &parent, &unused, &step)
		plan = append(plan, step)
		return true, err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return plan
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
