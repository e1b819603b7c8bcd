"""RabbitMQ by kombu and py-amqp, which no other package imports.

One connection consumes and settles, on one thread; another publishes, so that a blocked publisher stalls no
acknowledgement. Messages are raw bytes here; the dispatcher decodes them.
"""

from worker.messaging.rabbitmq import tolerant
from worker.messaging.rabbitmq.rabbit import RabbitBroker

tolerant.install()

__all__ = ["RabbitBroker"]
