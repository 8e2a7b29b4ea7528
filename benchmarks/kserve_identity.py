"""KServe's side of reference_server.py: `python kserve_identity.py PORT`, with the Python that has KServe.

Two models: `identity` makes a NumPy array of its input and an output of the array, as a model that computes does;
`passthrough` hands over KServe's own lists, the least that a KServe model can do.
"""

import sys

from kserve import InferOutput, InferResponse, Model, ModelServer


class Identity(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput(tensor.name, tensor.shape, tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs)


class Passthrough(Identity):
    async def predict(self, payload, headers=None, response_headers=None):
        outputs = [InferOutput(each.name, each.shape, each.datatype, data=each.data) for each in payload.inputs]
        return InferResponse(payload.id, self.name, outputs)


if __name__ == "__main__":
    server = ModelServer(http_port=int(sys.argv[1]), workers=1, enable_grpc=False, access_log_format=None)
    server.start([Identity("identity"), Passthrough("passthrough")])
