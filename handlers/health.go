package handlers

import (
	"context"
	"net/http"
	"time"

	"github.com/imapi/imapi/api"
	"github.com/imapi/imapi/im"
)

// GetHealth implements GET /healthz.
func (s *Server) GetHealth(context.Context, api.GetHealthRequestObject) (api.GetHealthResponseObject, error) {
	return api.GetHealth200JSONResponse{Status: api.Ok}, nil
}

// longShredding is the time after which /readyz reports that the key of erased content still waits
// to be shredded. The promise is 5 s.
const longShredding = 2 * time.Second

// GetReady implements GET /readyz.
func (s *Server) GetReady(ctx context.Context, _ api.GetReadyRequestObject) (api.GetReadyResponseObject, error) {
	if s.draining.Load() {
		return nil, im.Refuse(im.Unavailable, "shutting_down", "the server is shutting down")
	}
	if err := s.verifier.Ready(); err != nil {
		return nil, err
	}
	if err := s.service.Ready(ctx); err != nil {
		return nil, err
	}
	ready := api.GetReady200JSONResponse{Status: api.Ok}
	clock := s.service.Clock()
	keys, waited := s.service.Unshredded()
	if waited < longShredding {
		keys, waited = 0, 0
	}
	index := s.service.SearchState()
	if clock.Held > 0 || keys > 0 || index.Failing {
		ready.Details = &api.HealthDetails{
			SearchIndexFailing: index.Failing,
			ClockJumpedSeconds: seconds(clock.Jump), RemovalHeldSeconds: seconds(clock.Held),
			ShreddingWaiting: keys, ShreddingWaitingSeconds: seconds(waited),
		}
	}
	return ready, nil
}

// GetMetrics implements GET /metrics.
func (s *Server) GetMetrics(context.Context, api.GetMetricsRequestObject) (api.GetMetricsResponseObject, error) {
	if s.metrics == nil {
		return nil, im.Refuse(im.NotFound, "not_found", "no such path")
	}
	return metricsResponse{s.metrics}, nil
}

// metricsResponse is the response that the metrics handler writes.
type metricsResponse struct{ handler http.Handler }

// VisitGetMetricsResponse writes the answer.
func (m metricsResponse) VisitGetMetricsResponse(w http.ResponseWriter) error {
	m.handler.ServeHTTP(w, &http.Request{Method: http.MethodGet, Header: http.Header{}})
	return nil
}

// GetDocument implements GET /openapi.yaml.
func (s *Server) GetDocument(context.Context, api.GetDocumentRequestObject) (api.GetDocumentResponseObject, error) {
	return documentResponse{}, nil
}

type documentResponse struct{}

// VisitGetDocumentResponse writes the OpenAPI document.
func (documentResponse) VisitGetDocumentResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, err := w.Write(api.Document)
	return err
}
