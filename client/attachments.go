package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Upload uploads a file. It reads the file once, as it is sent. Send a message with the id of
// the attachment within 24 hours, or it is deleted. The error is a [*Problem] if the server
// refused the file.
func (c *Client) Upload(ctx context.Context, name string, file io.Reader) (Attachment, error) {
	params := &UploadAttachmentParams{}
	if name != "" {
		params.Name = &name
	}
	response, err := c.UploadAttachmentWithBodyWithResponse(ctx, params, "application/octet-stream", file)
	switch {
	case err != nil:
		return Attachment{}, err
	case response.JSON201 == nil:
		return Attachment{}, fmt.Errorf("client: the server answered %s", response.Status())
	default:
		return *response.JSON201, nil
	}
}

// Download returns a reader of the bytes of an attachment as they arrive, which the caller must
// close. A Read fails if the attachment is erased, or the user loses access to it, before all bytes
// have arrived. The error of Download is a [*Problem] if the server refused the request.
func (c *Client) Download(ctx context.Context, attachment string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+"v1/attachments/"+url.PathEscape(attachment), nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	request.Header.Set("Accept", "*/*")
	if err := c.identify(ctx, request); err != nil {
		return nil, err
	}
	response, err := (refusing{c.stream}).Do(request)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}
