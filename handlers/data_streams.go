package handlers

import (
	"context"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/datastreams"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
)

// dataStreams returns the hub of data streams, or the refusal if the server has none.
func (s *Server) dataStreams() (*datastreams.Hub, error) {
	if s.streams == nil {
		return nil, im.Refuse(im.Forbidden, "streams_off", "this server has no data streams")
	}
	return s.streams, nil
}

// dataStream returns the hub, and the id of a data stream in a path. An invalid id is
// refused like an unknown data stream.
func (s *Server) dataStream(path api.DataStreamID) (*datastreams.Hub, im.DataStreamID, error) {
	hub, err := s.dataStreams()
	if err != nil {
		return nil, im.DataStreamID{}, err
	}
	id, ok := im.ParseDataStreamID(path)
	if !ok {
		err = im.ErrUnknownDataStream()
	}
	return hub, id, err
}

// CreateDataStream implements POST /v1/streams.
func (s *Server) CreateDataStream(ctx context.Context, r api.CreateDataStreamRequestObject) (api.CreateDataStreamResponseObject, error) {
	hub, err := s.dataStreams()
	if err != nil {
		return nil, err
	}
	b := r.Body
	d := im.DataStreamDraft{
		Owner: im.UserID(value(b.As, "")), Readers: domainUsers(value(b.Readers, nil)), Publishers: domainUsers(value(b.Publishers, nil)),
		Label: value(b.Label, ""), Idle: duration(value(b.IdleSeconds, 0)),
	}
	d.Access, _ = im.ParseStreamAccess(string(b.Access)) // the body has been validated
	if d.Conversation, err = optionalRef(b.ConversationID); err != nil {
		return nil, err
	}
	v, err := hub.Create(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return api.CreateDataStream201JSONResponse(convertDataStream(v)), nil
}

// GetDataStream implements GET /v1/streams/{stream}.
func (s *Server) GetDataStream(ctx context.Context, r api.GetDataStreamRequestObject) (api.GetDataStreamResponseObject, error) {
	hub, id, err := s.dataStream(r.Stream)
	if err != nil {
		return nil, err
	}
	v, err := hub.View(ctx, actor(ctx), id)
	if err != nil {
		return nil, err
	}
	return api.GetDataStream200JSONResponse(convertDataStream(v)), nil
}

// ListDataStreams implements GET /v1/streams.
func (s *Server) ListDataStreams(ctx context.Context, r api.ListDataStreamsRequestObject) (api.ListDataStreamsResponseObject, error) {
	hub, err := s.dataStreams()
	if err != nil {
		return nil, err
	}
	of, err := optionalRef(r.Params.ConversationID)
	if err != nil {
		return nil, err
	}
	list := listOf("data streams", value(r.Params.ConversationID, ""))
	token, err := s.readPageToken(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	var after int64
	if token != nil {
		after = token.Seq
	}
	views, next, err := hub.List(ctx, actor(ctx), of, after, int(value(r.Params.Limit, 50)))
	if err != nil {
		return nil, err
	}
	page := api.ListDataStreams200JSONResponse{Items: make([]api.DataStream, len(views))}
	for i, v := range views {
		page.Items[i] = convertDataStream(v)
	}
	if next != 0 {
		page.NextPageToken = optional(s.seal(pageToken{List: list, Seq: next}))
	}
	return page, nil
}

// PutPublisher implements PUT /v1/streams/{stream}/publishers/{user}.
func (s *Server) PutPublisher(ctx context.Context, r api.PutPublisherRequestObject) (api.PutPublisherResponseObject, error) {
	err := s.changeDataStream(ctx, r.Stream, func(d *im.DataStream) error { return d.PutPublisher(im.UserID(r.User)) })
	return api.PutPublisher204Response{}, err
}

// DeletePublisher implements DELETE /v1/streams/{stream}/publishers/{user}.
func (s *Server) DeletePublisher(ctx context.Context, r api.DeletePublisherRequestObject) (api.DeletePublisherResponseObject, error) {
	err := s.changeDataStream(ctx, r.Stream, func(d *im.DataStream) error { d.DeletePublisher(im.UserID(r.User)); return nil })
	return api.DeletePublisher204Response{}, err
}

// PutReader implements PUT /v1/streams/{stream}/readers/{user}.
func (s *Server) PutReader(ctx context.Context, r api.PutReaderRequestObject) (api.PutReaderResponseObject, error) {
	err := s.changeDataStream(ctx, r.Stream, func(d *im.DataStream) error { return d.PutReader(im.UserID(r.User)) })
	return api.PutReader204Response{}, err
}

// DeleteReader implements DELETE /v1/streams/{stream}/readers/{user}.
func (s *Server) DeleteReader(ctx context.Context, r api.DeleteReaderRequestObject) (api.DeleteReaderResponseObject, error) {
	err := s.changeDataStream(ctx, r.Stream, func(d *im.DataStream) error { return d.DeleteReader(im.UserID(r.User)) })
	return api.DeleteReader204Response{}, err
}

func (s *Server) changeDataStream(ctx context.Context, path api.DataStreamID, change func(*im.DataStream) error) error {
	hub, id, err := s.dataStream(path)
	if err != nil {
		return err
	}
	return hub.Change(ctx, actor(ctx), id, change)
}

// EndDataStream implements POST /v1/streams/{stream}/end. It reads the scanned body.
func (s *Server) EndDataStream(ctx context.Context, r api.EndDataStreamRequestObject) (api.EndDataStreamResponseObject, error) {
	hub, id, err := s.dataStream(r.Stream)
	if err != nil {
		return nil, err
	}
	var draft *im.Draft
	if message := scannedBody(ctx).Member("message"); message.Kind() != 0 {
		d, err := readDraft(message)
		if err != nil {
			return nil, err
		}
		draft = &d
	}
	v, err := hub.End(ctx, actor(ctx), id, draft)
	if err != nil {
		return nil, err
	}
	return api.EndDataStream200JSONResponse(convertDataStream(v)), nil
}

// DeleteDataStream implements DELETE /v1/streams/{stream}.
func (s *Server) DeleteDataStream(ctx context.Context, r api.DeleteDataStreamRequestObject) (api.DeleteDataStreamResponseObject, error) {
	hub, id, err := s.dataStream(r.Stream)
	if err == nil {
		err = hub.Delete(ctx, actor(ctx), id)
	}
	return api.DeleteDataStream204Response{}, err
}

func convertDataStream(v datastreams.View) api.DataStream {
	d := api.DataStream{
		ID: v.ID.String(), Owner: api.UserID(v.Owner), Access: api.StreamAccess(v.Access.String()),
		Readers: userIDs(v.Readers), Publishers: userIDs(v.Publishers),
		IdleSeconds: int64(v.Idle / time.Second), FirstFrame: v.First, NextFrame: v.Next, CreatedAt: api.Time(v.CreatedAt),
	}
	if v.Conversation != 0 {
		d.ConversationID = optional(v.Conversation.String())
	}
	if v.Label != "" {
		d.Label = optional(v.Label)
	}
	if e := v.End; e != nil {
		d.Ended = &api.DataStreamEnd{Reason: api.StreamEndReason(e.Reason.String()), At: api.Time(e.At)}
		if e.Message != 0 {
			d.Ended.MessageID = optional(e.Message.String())
		}
	}
	return d
}

// StreamNotice returns the event about a data stream for its conversation.
func StreamNotice(n datastreams.Notice) events.Transient {
	t := events.Transient{
		Type: events.StreamStarted, At: n.At, Conversation: n.Stream.Conversation, To: n.To, Not: n.Not,
		Actor: n.Actor.User, ActorDevice: n.Actor.Device,
	}
	if n.End != nil {
		t.Type = events.StreamEnded
	}
	o := openObject(nil)
	o.text("type", string(t.Type))
	o.time("at", n.At)
	o.id("conversation_id", n.Stream.Conversation)
	o.text("stream_id", n.Stream.ID.String())
	o.text("owner", string(n.Stream.Owner))
	o.textIfSet("label", n.Stream.Label)
	if n.End != nil {
		o.text("reason", n.End.Reason.String())
		o.idIfSet("message_id", n.End.Message)
	}
	t.Data = o.close()
	return t
}
