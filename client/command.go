package client

import (
	"context"
	"fmt"
)

// Command sends a command to a conversation, given by its id or as "@user": a message that
// is not stored and that only open streams receive, as an event of type [EventTypeCommand].
// The Type of the command need not be set. Command makes a single attempt, because a command that
// arrives late is of no use.
//
// The error is a [*Problem] if the server refused the command.
func (c *Client) Command(ctx context.Context, conversation string, command SendCommand) (AcceptedCommand, error) {
	command.Type = SendCommandTypeCommand
	var body SendMessage
	if err := body.FromSendCommand(command); err != nil {
		return AcceptedCommand{}, fmt.Errorf("client: encode the command: %w", err)
	}
	response, err := c.SendMessageWithResponse(ctx, conversation, nil, body)
	switch {
	case err != nil:
		return AcceptedCommand{}, err
	case response.JSON202 == nil:
		return AcceptedCommand{}, fmt.Errorf("client: unexpected status %s", response.Status())
	}
	return *response.JSON202, nil
}
