package handlers

import (
	"context"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/events"
	"github.com/imapi/imapi/im"
)

// EventID returns the id under which an event is delivered to webhooks: the cursor of its position
// in the log in which it was published. It does not change when a restored backup continues that
// log under another id.
func EventID(service *im.Service, at im.Position) string {
	return events.Cursor{Log: service.LogOf(at), Position: at}.String()
}

// eventAt returns the position of an event by its id.
func (s *Server) eventAt(field, id string) (im.Position, error) {
	c, err := events.ParseCursor(id)
	if err != nil {
		return 0, im.RefuseField(im.Invalid, "invalid_request", field, "is not the id of an event")
	}
	return c.Position, s.service.CheckLog(c.Log, c.Position)
}

// ListWebhooks implements GET /v1/admin/webhooks.
func (s *Server) ListWebhooks(ctx context.Context, _ api.ListWebhooksRequestObject) (api.ListWebhooksResponseObject, error) {
	all, err := s.service.Webhooks(ctx, actor(ctx))
	if err != nil {
		return nil, err
	}
	return api.ListWebhooks200JSONResponse{Items: each(all, s.webhook)}, nil
}

// CreateWebhook implements POST /v1/admin/webhooks.
func (s *Server) CreateWebhook(ctx context.Context, r api.CreateWebhookRequestObject) (api.CreateWebhookResponseObject, error) {
	d := webhookDraft(&r.Body.URL, r.Body.Events, r.Body.Kinds)
	d.Secret = value(r.Body.Secret, "")
	w, err := s.service.CreateWebhook(ctx, actor(ctx), d)
	if err != nil {
		return nil, err
	}
	return api.CreateWebhook201JSONResponse(s.webhook(w)), nil
}

// GetWebhook implements GET /v1/admin/webhooks/{webhook}.
func (s *Server) GetWebhook(ctx context.Context, r api.GetWebhookRequestObject) (api.GetWebhookResponseObject, error) {
	w, err := s.onWebhook(ctx, r.Webhook, s.service.Webhook)
	if err != nil {
		return nil, err
	}
	return api.GetWebhook200JSONResponse{WebhookNowJSONResponse: w}, nil
}

// UpdateWebhook implements PATCH /v1/admin/webhooks/{webhook}.
func (s *Server) UpdateWebhook(ctx context.Context, r api.UpdateWebhookRequestObject) (api.UpdateWebhookResponseObject, error) {
	d := webhookDraft(r.Body.URL, r.Body.Events, r.Body.Kinds)
	if r.Body.State != nil {
		d.Active = new(*r.Body.State == api.UpdateWebhookStateActive)
	}
	w, err := s.onWebhook(ctx, r.Webhook, func(ctx context.Context, by im.Actor, id im.ID) (im.WebhookView, error) {
		return s.service.UpdateWebhook(ctx, by, id, d)
	})
	if err != nil {
		return nil, err
	}
	return api.UpdateWebhook200JSONResponse{WebhookNowJSONResponse: w}, nil
}

// DeleteWebhook implements DELETE /v1/admin/webhooks/{webhook}.
func (s *Server) DeleteWebhook(ctx context.Context, r api.DeleteWebhookRequestObject) (api.DeleteWebhookResponseObject, error) {
	_, err := s.onWebhook(ctx, r.Webhook, func(ctx context.Context, by im.Actor, id im.ID) (im.WebhookView, error) {
		return im.WebhookView{}, s.service.DeleteWebhook(ctx, by, id)
	})
	if err != nil {
		return nil, err
	}
	return api.DeleteWebhook204Response{}, nil
}

// RotateWebhookSecret implements POST /v1/admin/webhooks/{webhook}/secret.
func (s *Server) RotateWebhookSecret(ctx context.Context, r api.RotateWebhookSecretRequestObject) (api.RotateWebhookSecretResponseObject, error) {
	w, err := s.onWebhook(ctx, r.Webhook, func(ctx context.Context, by im.Actor, id im.ID) (im.WebhookView, error) {
		return s.service.RotateWebhookSecret(ctx, by, id, value(r.Body.Secret, ""))
	})
	if err != nil {
		return nil, err
	}
	return api.RotateWebhookSecret200JSONResponse(w), nil
}

// TestWebhook implements POST /v1/admin/webhooks/{webhook}/test.
func (s *Server) TestWebhook(ctx context.Context, r api.TestWebhookRequestObject) (api.TestWebhookResponseObject, error) {
	var at im.Position
	_, err := s.onWebhook(ctx, r.Webhook, func(ctx context.Context, by im.Actor, id im.ID) (w im.WebhookView, err error) {
		at, err = s.service.TestWebhook(ctx, by, id)
		return w, err
	})
	if err != nil {
		return nil, err
	}
	return api.TestWebhook202JSONResponse{ID: EventID(s.service, at)}, nil
}

// Redeliver implements POST /v1/admin/webhooks/{webhook}/redeliver.
func (s *Server) Redeliver(ctx context.Context, r api.RedeliverRequestObject) (api.RedeliverResponseObject, error) {
	w, err := s.onWebhook(ctx, r.Webhook, func(ctx context.Context, by im.Actor, id im.ID) (w im.WebhookView, err error) {
		// Look up the webhook first, so that a caller who may not see it learns nothing about the
		// log.
		if w, err = s.service.Webhook(ctx, by, id); err != nil {
			return w, err
		}
		if r.Body.From != nil {
			from, err := s.eventAt("from", *r.Body.From)
			if err != nil {
				return w, err
			}
			return s.service.RedeliverFrom(ctx, by, id, from)
		}
		at, err := s.eventAt("id", value(r.Body.ID, ""))
		if err != nil {
			return w, err
		}
		return s.service.Redeliver(ctx, by, id, at)
	})
	if err != nil {
		return nil, err
	}
	return api.Redeliver200JSONResponse{WebhookNowJSONResponse: w}, nil
}

// ListDeliveries implements GET /v1/admin/webhooks/{webhook}/deliveries.
func (s *Server) ListDeliveries(ctx context.Context, r api.ListDeliveriesRequestObject) (api.ListDeliveriesResponseObject, error) {
	id, err := im.ParseWebhookID(r.Webhook)
	if !actor(ctx).Admin { // refuse a caller who is not an admin before reading the page token
		_, err = s.service.Webhook(ctx, actor(ctx), id)
	}
	if err != nil {
		return nil, err
	}
	limit := int(value(r.Params.Limit, 50))
	q := im.DeliveryQuery{Webhook: id, Before: im.Latest, Limit: limit + 1}
	if r.Params.State != nil {
		q.State, _ = im.ParseDeliveryState(string(*r.Params.State))
	}
	list := listOf("deliveries", r.Webhook, q.State.String())
	token, err := s.readPageToken(list, r.Params.PageToken)
	if err != nil {
		return nil, err
	}
	if token != nil {
		q.Before = im.Position(token.Seq)
	}
	found, err := s.service.WebhookDeliveries(ctx, actor(ctx), q)
	if err != nil {
		return nil, err
	}
	found, next := cut(s, found, limit, func(d im.WebhookDelivery) pageToken { return pageToken{List: list, Seq: int64(d.Position)} })
	return api.ListDeliveries200JSONResponse{Items: each(found, s.delivery), NextPageToken: next}, nil
}

// onWebhook calls do with the id of the webhook in a path, and answers with the webhook that do
// returns.
func (s *Server) onWebhook(
	ctx context.Context, text string, do func(context.Context, im.Actor, im.ID) (im.WebhookView, error),
) (api.WebhookNowJSONResponse, error) {
	id, err := im.ParseWebhookID(text)
	if err != nil && actor(ctx).Admin { // others are refused whether or not the webhook exists
		return api.WebhookNowJSONResponse{}, err
	}
	w, err := do(ctx, actor(ctx), id)
	if err != nil {
		return api.WebhookNowJSONResponse{}, err
	}
	return api.WebhookNowJSONResponse(s.webhook(w)), nil
}

func webhookDraft(url *string, types *api.WebhookEvents, kinds *api.WebhookKinds) im.WebhookDraft {
	d := im.WebhookDraft{URL: url}
	if types != nil {
		d.Events = new(each(*types, func(t string) im.EventType { return im.EventType(t) }))
	}
	if kinds != nil {
		d.Kinds = new(each(*kinds, func(k api.Kind) im.Kind {
			kind, _ := im.ParseKind(string(k))
			return kind
		}))
	}
	return d
}

func (s *Server) webhook(w im.WebhookView) api.Webhook {
	out := api.Webhook{
		ID: w.ID.String(), URL: w.URL, State: api.WebhookState(w.State.String()),
		Events: each(w.Events, func(t im.EventType) string { return string(t) }),
		Kinds:  each(w.Kinds, func(k im.Kind) api.Kind { return api.Kind(k.String()) }),
		Reason: optional(w.Reason.String()), Secret: optional(w.Secret), PreviousSecretUntil: timeOrNil(w.PreviousUntil),
		Cursor: EventID(s.service, w.Position), Behind: int64(w.Head - w.Position),
		FailingSince: timeOrNil(w.FailingSince), Attempts: w.Attempts, NextAttemptAt: timeOrNil(w.NextAttempt),
		LastDeliveredAt: timeOrNil(w.DeliveredAt), CreatedAt: api.Time(w.CreatedAt), UpdatedAt: api.Time(w.UpdatedAt),
	}
	return out
}

func (s *Server) delivery(d im.WebhookDelivery) api.Delivery {
	out := api.Delivery{
		ID: EventID(s.service, d.Position), Type: string(d.Type), At: api.Time(d.At), State: api.DeliveryState(d.State.String()),
		Attempts: d.Attempts, FirstAttemptAt: timeOrNil(d.First), LastAttemptAt: timeOrNil(d.Last),
		Error: optional(d.Fault.String()), DurationMs: d.Took.Milliseconds(),
	}
	if d.Conversation != 0 {
		out.ConversationID = new(d.Conversation.String())
	}
	if d.Message != 0 {
		out.MessageID = new(d.Message.String())
	}
	if d.Status != 0 {
		out.Status = new(d.Status)
	}
	return out
}

// EncodeWebhook returns the body of a webhook request. id returns the ids of events.
func EncodeWebhook(c im.WebhookContent, id func(im.Position) string) []byte {
	size := 1024
	if m := c.Message; m != nil && m.Content != nil {
		size += len(m.Content.Sent)
	}
	o := openObject(make([]byte, 0, size))
	o.text("type", string(c.Type))
	o.time("timestamp", c.At)
	o.name("data")
	if c.Type.OfWebhooks() {
		o.buf = appendNotice(o.buf, c.Event, id)
	} else {
		o.buf = AppendEvent(o.buf, &c.Event, id(c.Position))
	}
	o.textIfSet("to", string(c.To))
	if c.Data != nil {
		o.raw("push", c.Data)
	}
	if off := c.Offline; off != nil {
		o.object("offline", func(o *jsonObject) {
			o.users("users", off.Users)
			o.integer("count", int64(off.Count))
			among := "mentioned"
			if off.Members {
				among = "members"
			}
			o.text("among", among)
		})
	}
	return o.close()
}

// appendNotice appends an event about a webhook.
func appendNotice(buf []byte, e im.Event, id func(im.Position) string) []byte {
	o := openObject(buf)
	o.text("id", id(e.Position))
	o.text("type", string(e.Type))
	o.time("at", e.At)
	o.id("webhook_id", e.Webhook)
	o.textIfSet("reason", e.Reason.String())
	if e.Type == im.WebhookGap {
		o.text("after", id(e.After))
	}
	return o.close()
}
