// Fastify with its plugin for pg, and JSON schemas for what comes in and what goes out.

import postgres from "@fastify/postgres";
import Fastify from "fastify";
import pg from "pg";

const fastify = Fastify();
const COLUMNS = "id, name, artist, year";

// pg reads a bigint as a string unless it is told that the number is small enough.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

fastify.register(postgres, {
    connectionString: process.env.DATABASE_URL.replace("postgresql+asyncpg:", "postgresql:"),
    min: Number(process.env.POOL_SIZE ?? 10),
    max: Number(process.env.POOL_SIZE ?? 10),
});

const text = { type: "string", minLength: 1, maxLength: 255 };
const year = { type: ["integer", "null"], minimum: 1, maximum: 9999 };
const fields = { name: text, artist: text, year };

fastify.addSchema({
    $id: "song",
    type: "object",
    required: ["id", "name", "artist", "year"],
    properties: {
        id: { type: "integer" },
        name: { type: "string" },
        artist: { type: "string" },
        year: { type: ["integer", "null"] },
    },
});
fastify.addSchema({
    $id: "missing",
    type: "object",
    properties: { message: { type: "string" } },
});
const params = {
    type: "object",
    required: ["id"],
    properties: { id: { type: "integer", minimum: 1 } },
};
const song = { $ref: "song#" };
const missing = { $ref: "missing#" };

// Answer the song of a result, or that there is none.
function shown(rows, reply) {
    return rows[0] ?? reply.code(404).send({ message: "Song not found" });
}

fastify.get(
    "/songs",
    { schema: { response: { 200: { type: "array", items: song } } } },
    async () => {
        const { rows } = await fastify.pg.query({
            name: "list",
            text: `SELECT ${COLUMNS} FROM song ORDER BY id LIMIT 100`,
        });
        return rows;
    },
);

fastify.get(
    "/songs/:id",
    { schema: { params, response: { 200: song, 404: missing } } },
    async (request, reply) => {
        const { rows } = await fastify.pg.query({
            name: "read",
            text: `SELECT ${COLUMNS} FROM song WHERE id = $1`,
            values: [request.params.id],
        });
        return shown(rows, reply);
    },
);

fastify.post(
    "/songs",
    {
        schema: {
            body: { type: "object", required: ["name", "artist"], properties: fields },
            response: { 201: song },
        },
    },
    async (request, reply) => {
        const { name, artist, year } = request.body;
        const { rows } = await fastify.pg.query({
            name: "create",
            text: `INSERT INTO song (name, artist, year) VALUES ($1, $2, $3) RETURNING ${COLUMNS}`,
            values: [name, artist, year],
        });
        return reply.code(201).send(rows[0]);
    },
);

fastify.patch(
    "/songs/:id",
    {
        schema: {
            params,
            body: { type: "object", properties: fields },
            response: { 200: song, 404: missing },
        },
    },
    async (request, reply) => {
        const { name, artist, year } = request.body;
        const { rows } = await fastify.pg.query({
            name: "update",
            text: `UPDATE song SET name = coalesce($2, name), artist = coalesce($3, artist),
                year = CASE WHEN $4 THEN $5 ELSE year END WHERE id = $1 RETURNING ${COLUMNS}`,
            values: [request.params.id, name, artist, year !== undefined, year],
        });
        return shown(rows, reply);
    },
);

await fastify.listen({ host: process.argv[2], port: Number(process.argv[3]) });
