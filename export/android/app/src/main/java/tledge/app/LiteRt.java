package tledge.app;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.tensorflow.lite.DataType;
import org.tensorflow.lite.Interpreter;
import org.tensorflow.lite.Tensor;
import tledge.core.Answers;
import tledge.core.SelfTest;

/** A bundle's `.tflite` file in LiteRT's Interpreter with XNNPACK, on one thread at a time. */
final class LiteRt implements SelfTest.Model {
    private final Interpreter interpreter;
    private final ByteBuffer input, output;

    LiteRt(byte[] model) {
        interpreter = new Interpreter(buffer(model.length).put(model), new Interpreter.Options().setUseXNNPACK(true));
        input = buffer(interpreter.getInputTensor(0).numBytes());
        output = buffer(interpreter.getOutputTensor(0).numBytes());
    }

    /** Probabilities of RGB bytes [height][width][3], which a byte input takes as they are. */
    @Override
    public float[] run(byte[] pixels) {
        input.rewind();
        input.put(pixels).rewind();
        output.rewind();
        interpreter.run(input, output);
        output.rewind();
        Tensor answer = interpreter.getOutputTensor(0);
        float[] made = new float[answer.numElements()];
        for (int one = 0; one < made.length; one++) made[one] = value(answer.dataType(), answer.quantizationParams());
        return made;
    }

    private float value(DataType type, Tensor.QuantizationParams scheme) {
        if (type == DataType.FLOAT32) return output.getFloat();
        int raw = type == DataType.UINT8 ? output.get() & 255 : type == DataType.INT8 ? output.get() : output.getShort();
        return Answers.dequantize(raw, scheme.getScale(), scheme.getZeroPoint());
    }

    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }
}
