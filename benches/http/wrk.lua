-- Every request carries another of the tokens in the file named after --.
local requests, n = {}, 0

function init(args)
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("GET", "/", { Cookie = line })
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d\n", summary.requests, summary.duration,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
