"""What may be asked of a server's usage."""

from pydantic import BaseModel, ConfigDict

from app.domain.usage import Timeframe


class UsageQuery(BaseModel):
    """Query of `GET /api/servers/<name>/usage`."""

    model_config = ConfigDict(frozen=True)
    timeframe: Timeframe = Timeframe.HOUR
