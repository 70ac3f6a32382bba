/** Exceptions that the demo's services throw, with stack traces in the form of their language. Pure data. */
import type { Language } from "./fleet.ts";

export interface Failure {
  /** `exception.type`; also the span's `error.type`. */
  readonly type: string;
  readonly message: string;
  readonly stack: string;
}

export const failures: Readonly<Record<Language, readonly Failure[]>> = {
  nodejs: [
    {
      type: "TypeError",
      message: "Cannot read properties of undefined (reading 'price')",
      stack: [
        "TypeError: Cannot read properties of undefined (reading 'price')",
        "    at totalOf (/app/dist/basket.js:41:27)",
        "    at Array.reduce (<anonymous>)",
        "    at Basket.total (/app/dist/basket.js:38:23)",
        "    at async renderBasket (/app/dist/pages/basket.js:17:19)",
        "    at process.processTicksAndRejections (node:internal/process/task_queues:105:5)",
      ].join("\n"),
    },
    {
      type: "ECONNRESET",
      message: "socket hang up",
      stack: [
        "Error: socket hang up",
        "    at Socket.socketOnEnd (node:_http_client:598:25)",
        "    at Socket.emit (node:events:536:35)",
        "    at endReadableNT (node:internal/streams/readable:1698:12)",
      ].join("\n"),
    },
  ],
  java: [
    {
      type: "java.sql.SQLTransientConnectionException",
      message:
        "HikariPool-1 - Connection is not available, request timed out after 30000ms (total=10, active=10)",
      stack: [
        "java.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, request timed out after 30000ms (total=10, active=10)",
        "\tat com.zaxxer.hikari.pool.HikariPool.createTimeoutException(HikariPool.java:686)",
        "\tat com.zaxxer.hikari.pool.HikariPool.getConnection(HikariPool.java:179)",
        "\tat shop.catalog.ProductRepository.find(ProductRepository.java:58)",
        "\tat shop.catalog.ProductController.show(ProductController.java:31)",
        "\t... 64 more",
        "Caused by: java.net.SocketTimeoutException: Read timed out",
        "\tat java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)",
        "\t... 5 more",
      ].join("\n"),
    },
    {
      type: "shop.payments.CardDeclinedException",
      message: "Karte abgelehnt: Limit überschritten",
      stack: [
        "shop.payments.CardDeclinedException: Karte abgelehnt: Limit überschritten",
        "\tat shop.payments.Gateway.charge(Gateway.java:112)",
        "\tat shop.payments.PaymentService.pay(PaymentService.java:47)",
      ].join("\n"),
    },
  ],
  python: [
    {
      type: "smtplib.SMTPRecipientsRefused",
      message: "{'jörg@example.com': (550, b'5.1.1 mailbox unavailable')}",
      stack: [
        "Traceback (most recent call last):",
        '  File "/app/mailer/send.py", line 74, in deliver',
        "    smtp.send_message(message)",
        '  File "/usr/lib/python3.14/smtplib.py", line 989, in send_message',
        "    return self.sendmail(from_addr, to_addrs, flatmsg, mail_options,",
        "smtplib.SMTPRecipientsRefused: {'jörg@example.com': (550, b'5.1.1 mailbox unavailable')}",
      ].join("\n"),
    },
  ],
  go: [
    {
      type: "*pgconn.PgError",
      message: 'ERROR: duplicate key value violates unique constraint "orders_pkey" (SQLSTATE 23505)',
      stack: [
        "goroutine 118 [running]:",
        "shop/orders.(*Store).Insert(0xc0001a4000, {0x1a2b3c0, 0xc000532000})",
        "\t/src/orders/store.go:88 +0x3f4",
        "shop/orders.(*Handler).Create(0xc00019c0c0, {0x1a2f4e8, 0xc0004c2000})",
        "\t/src/orders/handler.go:51 +0x1d2",
      ].join("\n"),
    },
    {
      type: "context.deadlineExceededError",
      message: "context deadline exceeded",
      stack: ["goroutine 64 [running]:", "shop/shipping.quote()", "\t/src/shipping/quote.go:29 +0x9c"].join(
        "\n",
      ),
    },
  ],
};
