# frozen_string_literal: true

# A complete FedCore worker in Ruby: the stock XML-RPC client, and safetensors by hand. See README.md beside it.

require "json"
require "securerandom"
require "xmlrpc/client"

# The model: 784 inputs, rectified hidden units, 10 outputs, trained one image at a time. All tensors are flat arrays, row by row.
class Perceptron
  CLASSES = 10
  RATE = 0.01

  def initialize(bytes)
    header_size = bytes[0, 8].unpack1("Q<")
    @header = JSON.parse(bytes[8, header_size]).reject { |name, _| name == "__metadata__" }
    data = bytes[(8 + header_size)..]
    @tensors = @header.transform_values { |t| data[t["data_offsets"][0]...t["data_offsets"][1]].unpack("e*") }
    @hidden = @tensors["hidden.bias"].size
  end

  # One step of gradient descent; returns the image's loss. `pixels` are [place, value] pairs: most of an image is zero.
  def learn(pixels, label)
    weight, bias, out, out_bias = @tensors.values_at("hidden.weight", "hidden.bias", "output.weight", "output.bias")
    units = bias.dup
    pixels.each { |place, value| @hidden.times { |j| units[j] += value * weight[place * @hidden + j] } }
    units.map! { |unit| unit.positive? ? unit : 0.0 }
    scores = (0...CLASSES).map { |k| out_bias[k] + (0...@hidden).sum { |j| units[j] * out[j * CLASSES + k] } }
    errors = scores.map { |score| Math.exp(score - scores.max) }
    total = errors.sum
    errors.map! { |error| error / total }
    loss = -Math.log([errors[label], 1e-30].max)
    errors[label] -= 1
    back = (0...@hidden).map { |j| units[j].zero? ? 0.0 : (0...CLASSES).sum { |k| errors[k] * out[j * CLASSES + k] } }
    CLASSES.times do |k|
      out_bias[k] -= RATE * errors[k]
      @hidden.times { |j| out[j * CLASSES + k] -= RATE * errors[k] * units[j] }
    end
    @hidden.times { |j| bias[j] -= RATE * back[j] }
    pixels.each { |place, value| @hidden.times { |j| weight[place * @hidden + j] -= RATE * value * back[j] } }
    loss
  end

  # The file with the trained values, laid out as the one it came from.
  def to_safetensors
    header = JSON.generate(@header)
    header += " " * (-header.bytesize % 8)
    in_order = @tensors.sort_by { |name, _| @header[name]["data_offsets"] }
    [header.bytesize].pack("Q<") + header.b + in_order.map { |_, values| values.pack("e*") }.join
  end
end

# Talks to the coordinator, and does what it says.
class Worker
  UNKNOWN_SESSION, REPLACED, BUSY, FINISHED = 1, 2, 7, 8
  GIVE_UP_SECONDS = 600
  NETWORK = [SystemCallError, IOError, SocketError, Timeout::Error].freeze

  def initialize(url, images)
    @url, @images = url, images
    @hello = { "protocol" => "1", "name" => ENV.fetch("FEDCORE_NAME", "ruby-#{ENV.fetch('FEDCORE_INDEX', 'worker')}"),
               "attempt" => Integer(ENV.fetch("FEDCORE_ATTEMPT", "1")), "instance" => SecureRandom.hex(16),
               "samples" => images.size, "client" => "ruby/#{RUBY_VERSION}", "tasks" => ["train"] }
    @hello["index"] = Integer(ENV["FEDCORE_INDEX"]) if ENV["FEDCORE_INDEX"]
    @hello["token"] = File.read(ENV["FEDCORE_TOKEN_FILE"]).strip if ENV["FEDCORE_TOKEN_FILE"]
    @held = nil # the last update, delivered again if its round is handed out again
  end

  def run
    loop do
      task = call("next_task", @heartbeat_seconds || 1.0) # each poll is a sign of life
      case task["kind"]
      when "train" then deliver(task)
      when "stop" then return %w[QuorumLost QuorumUnreachable].include?(task["reason"]) ? 3 : 0
      end
    rescue XMLRPC::FaultException => fault
      return 0 if [REPLACED, FINISHED].include?(fault.faultCode)
      raise unless fault.faultCode == UNKNOWN_SESSION # the coordinator was restarted: register again and ask
      @session = nil
    end
  end

  private

  def deliver(task)
    key = [task["round"], task["base"]["id"]]
    unless @held && @held[0] == key
      @held = nil
      update = train(task) or return # superseded: should the same round be handed out again, it is trained again
      @held = [key, update]
    end
    reply = call("submit", task["round"], @held[1])
    warn "round #{task['round']}: #{reply['result']} #{reply['reason']}"
    @held = nil if reply["result"] == "rejected"
  end

  def train(task)
    model = Perceptron.new(call("weights", task["base"]["version"]))
    began = beat = now
    count = [(task["work"]["epochs"] * @images.size).round, 1].max
    order = Array.new(count.fdiv(@images.size).ceil) { |lap| @images.shuffle(random: Random.new(task["seed"] + lap)) }
    loss = order.flatten(1).first(count).each_with_index.sum do |(pixels, label), done|
      if now - beat > @heartbeat_seconds
        return nil if call("heartbeat", task["round"], done.fdiv(count), 0.0)["superseded"]
        beat = now
      end
      model.learn(pixels, label)
    end
    { "base" => task["base"]["id"], "samples" => @images.size, "metrics" => {}, "train_loss" => loss / count,
      "seconds" => now - began, "weights" => XMLRPC::Base64.new(model.to_safetensors) }
  end

  # One call under the current session. A coordinator that is away or busy is asked again, with growing waits of random length.
  def call(method, *params)
    failing_since = nil
    wait = 0.1
    begin
      @client ||= XMLRPC::Client.new2("#{@url}/RPC2", nil, 90)
      register if @session.nil?
      @client.call("fedcore.#{method}", @session, *params)
    rescue *NETWORK, XMLRPC::FaultException => error
      raise if error.is_a?(XMLRPC::FaultException) && error.faultCode != BUSY
      @client, failing_since = nil, failing_since || now
      abort_with(4, "no answer from #{@url}: #{error.message}") if now - failing_since > GIVE_UP_SECONDS
      sleep(rand * wait)
      wait = [wait * 2, 5.0].min
      retry
    end
  end

  def register
    welcome = @client.call("fedcore.register", @hello)
    @session, @heartbeat_seconds = welcome.values_at("session", "heartbeat_seconds")
  end

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def abort_with(code, message)
  warn message
  exit code
end

abort_with(2, "usage: ruby worker.rb COORDINATOR_URL IMAGES.csv") unless ARGV.size == 2
images = File.foreach(ARGV[1]).map do |line|
  label, *pixels = line.split(",").map { |field| Integer(field.strip) }
  [pixels.each_with_index.filter_map { |value, place| [place, value / 255.0] if value.positive? }, label]
end
begin
  exit Worker.new(ARGV[0], images).run
rescue XMLRPC::FaultException => fault
  abort_with(2, "refused: #{fault.faultString}")
end
